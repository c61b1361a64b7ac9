"""SQL is the fold of the log, however the log was cut into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from flashstock.ledger import tables
from flashstock.ledger.engine import reading
from flashstock.model import events
from flashstock.model.fold import Changes, fold
from flashstock.model.orders import order_number
from flashstock.model.rules import NO_DEADLINE_MS, PoolRules, Wave
from flashstock.model.states import PoolState, ReservationState
from tests.contract.ledger.written_log import ORDER_SECRET, Book, Log, digest

HELD, CONFIRMED = ReservationState.HELD, ReservationState.CONFIRMED
ORDERED = ReservationState.ORDERED
ENDS = (ReservationState.CANCELLED, ReservationState.EXPIRED, ReservationState.REVOKED)


@dataclass
class Grant:
    number: int
    quantity: int
    state: ReservationState = HELD
    endless: bool = False
    returned: int = 0


@dataclass
class Sale:
    """One pool's history, written so that every event is possible when it happens."""

    pool: str
    at_ms: int = 1_000
    available: int = 12
    locked: int = 8
    orders: int = 0
    grants: list[Grant] = field(default_factory=list)
    history: list[events.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        rules = PoolRules("sku", waves=(Wave(5_000, self.locked),))
        total = self.available + self.locked
        self.history.append(events.Configured(self.pool, 1, rules, True, total, self.locked))

    def step(self, what: int, which: int, much: int) -> None:
        """One event chosen by three small numbers; nothing, where it would be impossible."""
        self.at_ms += 1
        steps = (self.hold, self.hold, self.end, self.pay, self.pay_late, self.give_back)
        more = (self.extend, self.adjust, self.release_wave, self.configure, self.owe)
        event = (*steps, *more, self.order, self.withdraw)[what](which, much)
        if event is not None:
            self.history.append(event)

    def _of(self, states: Sequence[ReservationState], which: int) -> Grant | None:
        found = [grant for grant in self.grants if grant.state in states]
        return found[which % len(found)] if found else None

    def hold(self, which: int, much: int) -> events.Event | None:
        parts = []
        endless = which % 3 == 1
        for _ in range(which % 4 + 1):
            if self.available < much:
                break
            self.available -= much
            self.grants.append(Grant(len(self.grants), much, endless=endless))
            number = self.grants[-1].number
            parts.append(events.Hold(digest(number), f"buyer {number % 3}", much, f"cart {which}"))
        if not parts:
            return None
        deadline_ms = NO_DEADLINE_MS if endless else self.at_ms + 50
        return events.Held(self.pool, self.at_ms, deadline_ms, tuple(parts))

    def order(self, which: int, much: int) -> events.Event | None:
        self.grants.append(Grant(len(self.grants), much, ORDERED))
        number = self.grants[-1].number
        hold = events.Hold(digest(number), f"buyer {number % 3}", much, f"cart {which}")
        return events.Held(self.pool, self.at_ms, self.at_ms + 50, (hold,), ORDERED)

    def withdraw(self, which: int, much: int) -> events.Event | None:
        grant = self._of([ORDERED], which)
        if grant is None:
            return None
        grant.state = ENDS[2 * (much % 2)]
        what = (digest(grant.number), grant.quantity, grant.state)
        return events.Withdrawn(self.pool, self.at_ms, *what)

    def end(self, which: int, much: int) -> events.Event | None:
        parts = []
        for _ in range(which % 2 + 1):
            if grant := self._of([HELD], which):
                grant.state = ENDS[much % 3]
                self.available += grant.quantity
                parts.append(events.Release(digest(grant.number), grant.quantity))
        state = ENDS[much % 3]
        return events.Released(self.pool, self.at_ms, state, tuple(parts)) if parts else None

    def pay(self, which: int, _: int) -> events.Event | None:
        return self._confirm(self._of([HELD], which))

    def pay_late(self, which: int, _: int) -> events.Event | None:
        grant = self._of([ReservationState.EXPIRED, ORDERED], which)
        if grant is None or grant.quantity > self.available:
            return None
        self.available -= grant.quantity
        return self._confirm(grant)

    def _confirm(self, grant: Grant | None) -> events.Event | None:
        if grant is None:
            return None
        before, grant.state = grant.state, CONFIRMED
        self.orders += 1
        buyer, payment = f"buyer {grant.number % 3}", f"payment {self.pool} {grant.number}"
        sold = (grant.quantity, buyer, payment, self.orders)
        return events.Confirmed(self.pool, self.at_ms, digest(grant.number), before, *sold)

    def give_back(self, which: int, much: int) -> events.Event | None:
        grant = self._of([CONFIRMED], which)
        if grant is None:
            return None
        units = min(much, grant.quantity - grant.returned)
        grant.returned += units
        restock = which % 3 > 0
        self.available += units if restock else 0
        complete = grant.returned == grant.quantity
        if complete:
            grant.state = ReservationState.RETURNED
        counts = (units, grant.returned, complete, "command", much, restock)
        return events.Returned(self.pool, self.at_ms, digest(grant.number), *counts)

    def extend(self, which: int, much: int) -> events.Event | None:
        grant = self._of([HELD], which)
        if grant is None or grant.endless:
            return None
        return events.Extended(self.pool, self.at_ms, digest(grant.number), self.at_ms + much)

    def adjust(self, which: int, much: int) -> events.Event | None:
        delta = much if which % 2 else -min(much, self.available)
        self.available += delta
        return events.Adjusted(self.pool, self.at_ms, delta, 0, f"command {self.at_ms}")

    def release_wave(self, _: int, much: int) -> events.Event | None:
        units = min(much, self.locked)
        self.locked -= units
        self.available += units
        waves = (Wave(9_000, self.locked),) if self.locked else ()
        return events.WaveReleased(self.pool, self.at_ms, units, waves)

    def configure(self, which: int, much: int) -> events.Event | None:
        rules = PoolRules(f"sku {which}", list(PoolState)[much % 3], per_buyer_limit=much)
        return events.Configured(self.pool, self.at_ms, rules, False, 0, 0)

    def owe(self, which: int, much: int) -> events.Event | None:
        grant = self._of([ReservationState.CANCELLED], which)
        if grant is None:
            return None
        owed = (grant.quantity, f"buyer {grant.number % 3}", f"late {self.pool} {grant.number}")
        return events.RefundDue(self.pool, self.at_ms, digest(grant.number), *owed)


STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 12), st.integers(0, 7), st.integers(1, 4)),
    max_size=50,
)
BATCHES = st.lists(st.integers(1, 9), min_size=1, max_size=8)
_shards = count()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, batches=BATCHES)
async def test_any_history_in_any_batches_is_its_fold(
    book: Book, steps: list[tuple[int, int, int, int]], batches: list[int]
):
    shard = next(_shards)
    sales = [Sale(f"pool-{shard}-{name}") for name in "ab"]
    for which_pool, what, which, much in steps:
        sales[which_pool].step(what, which, much)
    log = Log(shard)
    # One counter of orders serves the whole shard, so the second pool's come after the first's.
    entries = log.entries(*_with_one_counter(sales))

    await replace(book, cursor=await book.ledger.create_cursor(shard)).follow(entries, batches)

    changes = fold((entry, events.decode(entry)) for entry in entries)
    assert await _reservations(book, shard) == _expected_reservations(changes, shard)
    assert await _pools(book, shard) == _expected_pools(changes)
    assert await _refunds(book, shard) == {
        (r.payment_ref, r.reservation_id, r.quantity) for r in changes.refunds
    }
    assert all(sums.agree() for sums in await book.queries.pool_sums(shard))
    for sale in sales:
        stored = await book.queries.pool(sale.pool)
        assert stored is not None
        assert stored.counters.balanced()
        assert (stored.counters.available, stored.counters.locked) == (sale.available, sale.locked)


def _with_one_counter(sales: Sequence[Sale]) -> list[events.Event]:
    """Both histories in one, each in its own order, sales numbered through."""
    orders = count(1)
    merged = sorted(
        (event for sale in sales for event in sale.history), key=lambda event: event.at_ms
    )
    return [
        events.Confirmed(
            e.pool, e.at_ms, e.digest, e.before, e.quantity, e.buyer, e.payment_ref, next(orders)
        )
        if isinstance(e, events.Confirmed)
        else e
        for e in merged
    ]


def _expected_reservations(changes: Changes, shard: int) -> dict[str, tuple[Any, ...]]:
    assert not changes.changed, "a history from its beginning changes only what it inserted"
    numbers = {
        sale.reservation_id: order_number(ORDER_SECRET, shard, sale.order_index, sale.buyer)
        for sale in changes.sales
    }
    return {
        row.id: (
            row.pool,
            row.buyer,
            row.quantity,
            row.cart,
            row.state.value,
            row.deadline_ms,
            row.created_at_ms,
            row.updated_at_ms,
            row.seq,
            row.payment_ref,
            row.order_index,
            numbers.get(row.id),
            row.returned,
        )
        for row in changes.inserted.values()
    }


async def _reservations(book: Book, shard: int) -> dict[str, tuple[Any, ...]]:
    table = tables.reservations
    names = "id pool buyer quantity cart state deadline_ms created_at_ms updated_at_ms seq"
    paid = "payment_ref order_index order_no returned"
    columns = [table.c[name] for name in f"{names} {paid}".split()]
    async with reading(book.engine) as connection:
        rows = await connection.execute(select(*columns).where(table.c.shard == shard))
    return {row[0]: tuple(row[1:]) for row in rows}


def _expected_pools(changes: Changes) -> dict[str, tuple[Any, ...]]:
    expected = {}
    for pool, change in changes.pools.items():
        assert change.rules is not None
        waves = change.rules.waves if change.waves is None else change.waves
        units = (change.total, change.held, change.sold, change.locked)
        rules = (change.rules.sku, change.rules.state, change.rules.per_buyer_limit, waves)
        expected[pool] = (*units, *rules, change.created_at_ms, change.updated_at_ms)
    return expected


async def _pools(book: Book, shard: int) -> dict[str, tuple[Any, ...]]:
    found = {}
    for pool in await book.queries.pools("", 100, shard=shard):
        counters, rules = pool.counters, pool.rules
        units = (counters.total, counters.held, counters.sold, counters.locked)
        parts = (rules.sku, rules.state, rules.per_buyer_limit, rules.waves)
        found[pool.id] = (*units, *parts, pool.created_at_ms, pool.updated_at_ms)
    return found


async def _refunds(book: Book, shard: int) -> set[tuple[str, str, int]]:
    owed = await book.queries.refunds(0, 10_000)
    return {(r.payment_ref, r.reservation_id, r.quantity) for r in owed if r.shard == shard}
