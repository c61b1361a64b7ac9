"""The scripts of groups beside the reference, driven by Hypothesis: any order of anything.

After every step both must have answered alike and hold the same, whatever can be read off either,
and the invariants hold. ``STATE_MACHINE_EXAMPLES=2000`` searches longer than a pipeline can.
"""

from __future__ import annotations

from functools import partial

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
)

from flashstock.hotpath.group_calls import OPEN, join
from flashstock.hotpath.replies import PoolSnapshot
from flashstock.hotpath.scripts import Verdict
from flashstock.hotpath.store import HotStore
from flashstock.model.eligibility import Attests
from flashstock.model.group_records import group_of_cart
from flashstock.model.ids import ReservationId
from flashstock.model.rules import Wave
from flashstock.model.states import PoolState, ReservationState
from tests.lua.group_choices import (
    LATE,
    LIMITS,
    LOCKED,
    OTHER_RULES,
    PAID,
    RULES,
    TOTALS,
    UNPAID,
    choices,
    moments,
    payments,
    pools,
    requests,
)
from tests.lua.side_by_side import SideBySide, run_beside
from tests.reference.asking import HOLD_MS, create, key
from tests.reference.group_invariants import check_groups
from tests.reference.group_store import ReferenceGroupStore
from tests.reference.group_subjects import GroupsInMemory, groups_on_server
from tests.reference.invariants import check
from tests.reference.subjects import RETENTION_MS, START_MS

EXAMPLES = 50

Store = HotStore | ReferenceGroupStore
Asked = tuple[int | None, str, int, str, int, str]


class GroupMachine(SideBySide[Store]):
    model: GroupsInMemory

    def __init__(self) -> None:
        super().__init__(GroupsInMemory())

    def some_seat(self, choice: int, *likely: ReservationState) -> ReservationId:
        """Most often one in a state that can go on; sometimes one that there is not."""
        records = self.model.store.records
        ready = [digest for digest in sorted(records) if records[digest].state in likely]
        candidates = ready if ready and choice % 5 else sorted(records)
        digest = candidates[choice % len(candidates)]
        pool = "pay" if choice % 25 == 10 else records[digest].pool
        return ReservationId(pool, digest)

    def some_group(self, pool: str, choice: int) -> str:
        """One with a free seat, more often than not; sometimes another pool's, or none at all."""
        store = self.model.store
        ready = [group.digest for _, group in store.open_groups(pool)]
        candidates = ready if ready and choice % 3 else sorted(store.groups)
        return candidates[choice % len(candidates)] if candidates else key(choice)

    @initialize(at_ms=st.integers(1, 3 * HOLD_MS))
    def open_pools(self, at_ms: int) -> None:
        for pool in RULES:
            self.both(partial(self.open_pool, pool=pool, at_ms=at_ms))

    @staticmethod
    async def open_pool(store: Store, pool: str, at_ms: int) -> PoolSnapshot:
        return await create(
            store,
            pool,
            total=TOTALS[pool] + LOCKED,
            locked=LOCKED,
            waves=(Wave(START_MS + at_ms, LOCKED),),
            per_buyer_limit=LIMITS[pool],
            ends_at_ms=START_MS + RETENTION_MS + 9 * HOLD_MS if pool == "pair" else 0,
            group_buy=RULES[pool].text,
        )

    @rule(pool=pools, batch=st.lists(requests, min_size=1, max_size=8))
    def take_seats(self, pool: str, batch: list[Asked]) -> None:
        lines = []
        for number, buyer, units, wanted, choice, said in batch:
            known = number if number is not None else self.new()
            # A key is good for one seat: once that is forgotten, it is not used again.
            if known not in self.granted or key(known) in self.model.store.records:
                wants = join(self.some_group(pool, choice)) if wanted == "join" else wanted
                lines.append((known, buyer, units, wants, said))
        if not lines:
            return
        numbers, buyers, units_of, wants_of, said_of = (list(c) for c in zip(*lines, strict=True))
        columns = [key(number) for number in numbers], buyers, [str(units) for units in units_of]
        attests = said_of if any(said_of) else None
        reply = self.both(
            lambda store: store.take_seats(pool, sum(units_of), *columns, wants_of, attests)
        )
        for number, code in zip(numbers, reply.verdicts, strict=True):
            if code - 48 == Verdict.HELD:
                self.granted.add(number)

    @rule(pool=pools, batch=st.lists(requests, min_size=3, max_size=8))
    def take_many_seats(self, pool: str, batch: list[Asked]) -> None:
        """Again, so that there is more to do something with."""
        self.take_seats(pool, batch)

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, matched=st.booleans())
    def repeat(self, choice: int, matched: bool) -> None:
        """6: whatever happened since, the same request is answered with the same seat."""
        records, seq = self.model.store.records, self.model.store.seq
        digest = sorted(records)[choice % len(records)]
        record = records[digest]
        group = group_of_cart(record.cart)
        wanted = "match" if matched else "open" if group == digest else join(group)
        columns = [digest], [record.buyer], [str(record.quantity)]
        reply = self.both(lambda store: store.take_seats(record.pool, 0, *columns, [wanted]))
        assert reply.verdicts == b"1"
        if reply.seq == seq:  # nothing else was due
            assert reply.replays[0].decode() == record.pack()

    @rule(
        pool=pools,
        unpaid=st.sampled_from([0, 0, 0, 1, 2]),
        buyers=st.sampled_from(["vwxyz", "klmno", "abcde"]),
    )
    def fill(self, pool: str, unpaid: int, buyers: str) -> None:
        """The group nearest to full, or a new one, gets its seats, and nearly all are paid."""
        store = self.model.store
        if not store.open_groups(pool):
            self.seat(pool, buyers[:1], OPEN)
        if not store.open_groups(pool):
            return
        group = store.open_groups(pool)[0][1]
        self.seat(pool, buyers[: store.missing(group)], join(group.digest))
        pending = store.seats(group, UNPAID)
        for digest, _ in pending[: max(0, len(pending) - unpaid)]:
            self.pay_for(ReservationId(pool, digest))

    def seat(self, pool: str, buyers: str, wanted: str) -> None:
        numbers = [self.new() for _ in buyers]
        columns = [key(number) for number in numbers], list(buyers), ["1"] * len(buyers)
        wants = [wanted] * len(buyers)
        said = [Attests(new_buyer=True).packed()] * len(buyers)
        reply = self.both(lambda store: store.take_seats(pool, len(buyers), *columns, wants, said))
        for number, code in zip(numbers, reply.verdicts, strict=True):
            if code - 48 == Verdict.HELD:
                self.granted.add(number)

    def pay_for(self, seat: ReservationId) -> None:
        reference = f"pay {self.new()}"
        self.both(lambda store: store.confirm(seat, reference))

    @rule(pool=pools)
    def fill_again(self, pool: str) -> None:
        self.fill(pool, 0, "pqrst")

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, payment=payments)
    def pay(self, choice: int, payment: str | None) -> None:
        seat = self.some_seat(choice, *UNPAID)
        reference = payment or f"pay {self.new()}"
        self.both(lambda store: store.confirm(seat, reference))

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices)
    def pay_once_more(self, choice: int) -> None:
        """So that groups form: most groups lack one payment at some time."""
        self.pay(choice, None)

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, again=st.booleans())
    def pay_late_or_again(self, choice: int, again: bool) -> None:
        states = (*PAID, ReservationState.REFUNDED) if again else LATE
        seat = self.some_seat(choice, *states)
        paid_with = self.model.store.records[seat.digest].payment_ref
        reference = paid_with if paid_with and again else f"pay {self.new()}"
        self.both(lambda store: store.confirm(seat, reference))

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, kind=st.sampled_from(["cancelled", "revoked"]), paid=st.booleans())
    def leave(self, choice: int, kind: str, paid: bool) -> None:
        seat = self.some_seat(choice, *(PAID if paid else UNPAID))
        self.both(lambda store: store.cancel(seat, kind))

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, extension_ms=st.sampled_from([1, HOLD_MS + 1, 9 * HOLD_MS]))
    def extend(self, choice: int, extension_ms: int) -> None:
        seat = self.some_seat(choice, *UNPAID)
        self.both(lambda store: store.extend(seat, extension_ms))

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, units=st.integers(0, 2), restock=st.booleans())
    def return_sale(self, choice: int, units: int, restock: bool) -> None:
        seat, command = self.some_seat(choice, *PAID), f"command {self.new()}"
        self.both(lambda store: store.return_sale(seat, units, command, restock=restock))

    @precondition(lambda self: self.model.store.groups)
    @rule(choice=choices)
    def settle(self, choice: int) -> None:
        groups = self.model.store.groups
        digest = sorted(groups)[choice % len(groups)]
        pool = "pay" if choice % 20 == 10 else groups[digest].pool
        self.both(lambda store: store.settle_group(ReservationId(pool, digest)))

    @rule(pool=pools, batch_max=st.integers(1, 4))
    def sweep(self, pool: str, batch_max: int) -> None:
        self.both(lambda store: store.expire(pool, batch_max))

    @rule(pool=pools, limit=st.integers(1, 4))
    def look(self, pool: str, limit: int) -> None:
        seen = self.both(lambda store: store.list_open_groups(pool, limit))
        if seen.groups:
            last = seen.groups[-1]
            after = (last.score, last.digest)
            self.both(lambda store: store.list_open_groups(pool, limit, after))
        digests = [*sorted(self.model.store.groups)[:5], key(0)]
        self.both(lambda store: store.read_groups(pool, digests, limit))

    @rule(pool=pools, units=st.integers(-2, 2))
    def adjust(self, pool: str, units: int) -> None:
        command = f"command {self.new()}"
        self.both(lambda store: store.adjust(pool, units, 0, command))

    @rule(
        pool=pools,
        what=st.sampled_from(["pause", "resume", "resume", "resume", "new", "old", "close"]),
    )
    def change_rules(self, pool: str, what: str) -> None:
        if what == "close" and len(self.model.store.log) < 60:
            return
        changes = {
            "pause": {"state": PoolState.PAUSED.value},
            "resume": {"state": PoolState.OPEN.value},
            "close": {"state": PoolState.CLOSED.value},
            "new": {"group_buy": OTHER_RULES[pool].text},
            "old": {"group_buy": RULES[pool].text},
        }[what]
        self.both(lambda store: store.configure(pool, changes, created=None))

    @rule(by_ms=moments)
    def wait(self, by_ms: int) -> None:
        self.move_clock(by_ms)

    @precondition(lambda self: self.model.store.due)
    @rule(early_ms=st.integers(0, 1))
    def wait_until_something_is_due(self, early_ms: int) -> None:
        due_ms = min(self.model.store.due.values()) - early_ms
        self.move_clock(max(0, due_ms - self.now_ms))

    @rule(choice=st.integers(0, 3))
    def wait_until_all_is_forgotten(self, choice: int) -> None:
        if choice == 1:
            for _ in range(4):
                self.move_clock(RETENTION_MS + 5 * HOLD_MS)
                for pool in RULES:
                    self.sweep(pool, 8)

    @invariant()
    def everything_holds(self) -> None:
        real = self.run(self.real.state(RULES))
        assert real == self.run(self.model.state(RULES))
        groups = self.run(groups_on_server(self.real.client, RULES))
        assert groups == self.model.groups(RULES)
        check(real, LIMITS)
        check_groups(real, groups)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize(("server", "share"), [("valkey_url", 1.0), ("redis_server_url", 0.25)])
def test_groups_are_what_the_reference_makes_of_them(request, server, share):
    run_beside(GroupMachine, request.getfixturevalue(server), share, EXAMPLES)
