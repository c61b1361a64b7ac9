"""SQL is the fold of the log where groups are in it, however the log was cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from flashstock.ledger import tables
from flashstock.ledger.engine import reading
from flashstock.ledger.group_writes import new_groups
from flashstock.model import events
from flashstock.model.fold import fold
from flashstock.model.group_fold import seats_moved
from flashstock.model.group_records import cart_of_group
from flashstock.model.group_rules import GroupDeduct, GroupRules
from flashstock.model.rules import PoolRules
from flashstock.model.states import FailReason, ReservationState
from tests.contract.ledger.written_log import Book, Log, digest

SIZE = 3
State = ReservationState
PENDING = (State.HELD, State.ORDERED)
PAID = (State.PAID, State.CONFIRMED, State.RETURNED)
ENDS = (State.CANCELLED, State.EXPIRED, State.REVOKED)


@dataclass
class Seat:
    number: int
    group: int
    state: ReservationState


@dataclass
class GroupSale:
    """One pool's history of groups, written so that every event is possible when it happens."""

    pool: str
    deduct: GroupDeduct
    at_ms: int = 1_000
    orders: int = 0
    seats: list[Seat] = field(default_factory=list)
    open: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    history: list[events.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rules = GroupRules(SIZE, 60_000, deduct=self.deduct, house_max=1)
        rules = PoolRules("sku", group_buy=self.rules.text)
        self.history.append(events.Configured(self.pool, 1, rules, True, 1_000, 0))

    @property
    def forming(self) -> bool:
        return self.deduct is GroupDeduct.FORM

    def step(self, what: int, which: int) -> None:
        """One decision chosen by two small numbers; nothing, where it would be impossible."""
        self.at_ms += 1
        verbs: tuple[Callable[[int], None], ...] = (
            self.start,
            self.join,
            self.pay,
            self.pay,
            self.pay_late,
            self.end,
            self.leave,
            self.fail,
            self.settle,
            self.help,
            self.give_back,
        )
        verbs[what](which)

    def _live(self, group: int, states: Sequence[ReservationState] = (*PENDING, *PAID)) -> int:
        return sum(seat.group == group and seat.state in states for seat in self.seats)

    def _seat(
        self, which: int, states: Sequence[ReservationState], groups: set[int]
    ) -> Seat | None:
        found = [one for one in self.seats if one.state in states and one.group in groups]
        return found[which % len(found)] if found else None

    def _free(self, which: int) -> int | None:
        free = sorted(group for group in self.open if self._live(group) < SIZE)
        return free[which % len(free)] if free else None

    def _take(self, group: int) -> None:
        state = State.ORDERED if self.forming else State.HELD
        number = len(self.seats)
        self.seats.append(Seat(number, group, state))
        cart = cart_of_group(self._digest(group))
        hold = events.Hold(self._digest(number), f"buyer {number}", 1, cart)
        self.history.append(events.Held(self.pool, self.at_ms, self.at_ms + 50, (hold,), state))

    def _digest(self, number: int) -> str:
        return digest(number)

    def start(self, _: int) -> None:
        group = len(self.seats)
        self.open.add(group)
        opened = (self._digest(group),)
        self.history.append(
            events.GroupsOpened(self.pool, self.at_ms, 90_000, self.rules.text, opened)
        )
        self._take(group)

    def join(self, which: int) -> None:
        group = self._free(which)
        if group is not None:
            self._take(group)

    def pay(self, which: int) -> None:
        self._pay(self._seat(which, PENDING, self.open))

    def pay_late(self, which: int) -> None:
        seat = self._seat(which, [State.EXPIRED], self.open)
        self._pay(seat if seat and self._live(seat.group) < SIZE else None)

    def _pay(self, seat: Seat | None) -> None:
        if seat is None:
            return
        before, seat.state = seat.state, State.PAID if self.forming else State.CONFIRMED
        self.orders += 1
        name = f"{self.pool} {seat.number}"
        sale = (1, f"buyer {seat.number}", f"payment {name}", self.orders)
        kind = events.SeatPaid if self.forming else events.Confirmed
        paid = kind(self.pool, self.at_ms, self._digest(seat.number), before, *sale)
        self.history.append(paid)
        if self._live(seat.group, PAID) == SIZE:
            self._form(seat.group, 0)

    def _form(self, group: int, house: int) -> None:
        self.open.discard(group)
        paid = [one for one in self.seats if one.group == group and one.state in PAID]
        if self.forming:
            served = tuple(events.Release(self._digest(one.number), 1) for one in paid)
            self.history.append(
                events.SeatsServed(self.pool, self.at_ms, self._digest(group), served)
            )
            for one in paid:
                one.state = State.CONFIRMED
        formed = (self._digest(group), len(paid), house)
        self.history.append(events.GroupFormed(self.pool, self.at_ms, *formed))

    def help(self, which: int) -> None:
        short = sorted(g for g in self.open if self._live(g, PAID) == SIZE - 1)
        if short:
            self._form(short[which % len(short)], 1)

    def end(self, which: int) -> None:
        self._end(self._seat(which, PENDING, {seat.group for seat in self.seats}), ENDS[which % 3])

    def _end(self, seat: Seat | None, state: ReservationState) -> None:
        if seat is None:
            return
        seat.state, name = state, self._digest(seat.number)
        if self.forming:
            self.history.append(events.Withdrawn(self.pool, self.at_ms, name, 1, state))
        else:
            part = (events.Release(name, 1),)
            self.history.append(events.Released(self.pool, self.at_ms, state, part))
        self._abandon(seat.group)

    def _abandon(self, group: int) -> None:
        if group in self.open and not self._live(group):
            self._fail(group, FailReason.ABANDONED)

    def leave(self, which: int) -> None:
        paid = (State.PAID, State.CONFIRMED)
        self._refund(self._seat(which, paid, self.open))

    def _refund(self, seat: Seat | None) -> None:
        if seat is None:
            return
        name = f"{self.pool} {seat.number}"
        owed = (seat.state, 1, f"buyer {seat.number}", f"payment {name}")
        given = (events.RefundedSeat(self._digest(seat.number), *owed),)
        group = self._digest(seat.group)
        seat.state = State.REFUNDED
        self.history.append(events.SeatsRefunded(self.pool, self.at_ms, group, given))
        self._abandon(seat.group)

    def fail(self, which: int) -> None:
        if self.open:
            self._fail(sorted(self.open)[which % len(self.open)], FailReason.DEADLINE)

    def _fail(self, group: int, reason: FailReason) -> None:
        self.open.discard(group)
        self.failed.add(group)
        paid = self._live(group, PAID)
        failed = (self._digest(group), reason, paid)
        self.history.append(events.GroupFailed(self.pool, self.at_ms, *failed))

    def settle(self, which: int) -> None:
        self._refund(self._seat(which, (State.PAID, State.CONFIRMED), self.failed))

    def give_back(self, which: int) -> None:
        formed = {seat.group for seat in self.seats} - self.open - self.failed
        seat = self._seat(which, [State.CONFIRMED], formed)
        if seat is not None:
            seat.state, name = State.RETURNED, self._digest(seat.number)
            back = (1, 1, True, f"command {self.at_ms}", 0)
            self.history.append(events.Returned(self.pool, self.at_ms, name, *back))


STEPS = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 7)), max_size=60)
BATCHES = st.lists(st.integers(1, 9), min_size=1, max_size=8)
_shards = count(1_000)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, batches=BATCHES, deduct=st.sampled_from(GroupDeduct))
async def test_any_history_of_groups_in_any_batches_is_its_fold(
    book: Book, steps: list[tuple[int, int]], batches: list[int], deduct: GroupDeduct
):
    shard = next(_shards)
    sale = GroupSale(f"groups-{shard}", deduct)
    for what, which in steps:
        sale.step(what, which)
    entries = Log(shard).entries(*sale.history)
    await replace(book, cursor=await book.ledger.create_cursor(shard)).follow(entries, batches)

    changes = fold((entry, events.decode(entry)) for entry in entries)
    assert not changes.groups_changed, "a history from its beginning changes what it opened"
    wanted = {row["id"]: row for row in new_groups(shard, changes, seats_moved(changes, {}))}
    assert await _groups(book, shard) == wanted
    assert await book.queries.group_sums(shard) == []
    owed = [r for r in await book.queries.refunds(0, 10_000) if r.shard == shard]
    refunded = [seat for seat in sale.seats if seat.state is State.REFUNDED]
    assert len(owed) == len(refunded) == len({row.payment_ref for row in owed})
    assert await _finished(book, sale.pool) == {
        f"{sale.pool}~{digest(seat.number)}" for seat in refunded
    }
    assert all(sums.agree() for sums in await book.queries.pool_sums(shard))
    for number, row in enumerate(sale.seats):
        assert changes.inserted[f"{sale.pool}~{digest(number)}"].state is row.state


async def _groups(book: Book, shard: int) -> dict[str, dict[str, Any]]:
    async with reading(book.engine) as connection:
        rows = await connection.execute(select(tables.groups).where(tables.groups.c.shard == shard))
    return {row.id: dict(row._asdict()) for row in rows}


async def _finished(book: Book, pool: str) -> set[str]:
    orders = tables.orders.c
    statement = select(orders.reservation_id).where(
        orders.pool == pool, orders.finished_at_ms.is_not(None)
    )
    async with reading(book.engine) as connection:
        return set((await connection.execute(statement)).scalars())
