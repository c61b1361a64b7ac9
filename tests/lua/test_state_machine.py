"""The real scripts beside the reference, driven by Hypothesis: any order of anything.

After every step both must have answered alike and hold the same, and the invariants hold.
``STATE_MACHINE_EXAMPLES=2000`` searches longer than a pipeline has time for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
)

from flashstock.hotpath.scripts import Verdict
from flashstock.model.events import encode_waves
from flashstock.model.ids import ReservationId
from flashstock.model.records import unpack_record
from flashstock.model.rules import NO_DEADLINE_MS, Wave
from flashstock.model.states import DeductMode, PoolState, ReservationState
from tests.lua.choices import (
    DOORS,
    FIRST_CART_KEY,
    GROUPED,
    LIMITS,
    MODES,
    PAYABLE,
    POOLS,
    attested,
    choices,
    commands,
    modes,
    moments,
    payments,
    pools,
    requests,
    rules,
)
from tests.lua.side_by_side import SideBySide, run_beside
from tests.reference.asking import HOLD_MS, Store, create, key
from tests.reference.invariants import check
from tests.reference.subjects import RETENTION_MS, START_MS, InMemory

EXAMPLES = 200


class ShardMachine(SideBySide[Store]):
    def __init__(self) -> None:
        super().__init__(InMemory())
        self.limits = dict(LIMITS)
        self.commands: list[Callable[[Store], Awaitable[object]]] = []

    def usable(self, number: int) -> bool:
        """A key is good for one reservation: once it is forgotten, it is not used again."""
        return number not in self.granted or key(number) in self.model.store.records

    def some_reservation(self, choice: int, *likely: ReservationState) -> ReservationId:
        """One there is, most often in a state that can go on; sometimes one there is not."""
        records = self.model.store.records
        ready = [digest for digest in sorted(records) if records[digest].state in likely]
        candidates = ready if ready and choice % 5 else sorted(records)
        digest = candidates[choice % len(candidates)]
        pool = records[digest].pool
        if choice % 20 == 10:
            return ReservationId("q" if pool == "p" else "p", digest)
        return ReservationId(pool, digest)

    @initialize(
        waves=st.lists(st.tuples(st.integers(1, 3 * HOLD_MS), st.integers(1, 3)), max_size=3),
        mode=modes,
        grouped=st.tuples(modes, modes),
    )
    def open_pools(
        self, waves: list[tuple[int, int]], mode: DeductMode, grouped: tuple[DeductMode, DeductMode]
    ) -> None:
        planned = tuple(Wave(START_MS + at_ms, units) for at_ms, units in sorted(waves))
        locked = sum(wave.quantity for wave in planned)
        self.both(lambda store: create(store, "p", total=6, per_buyer_limit=LIMITS["p"]))
        self.both(lambda store: create(store, "q", total=4, hold_ms=2 * HOLD_MS, deduct=mode))
        for name, deduct in zip(GROUPED, grouped, strict=True):
            limit = LIMITS[name]
            new = partial(create, pool=name, total=3, per_buyer_limit=limit, deduct=deduct)
            self.both(new)
        self.both(
            lambda store: create(
                store,
                "w",
                total=3 + locked,
                locked=locked,
                waves=planned,
                per_buyer_limit=LIMITS["w"],
                starts_at_ms=START_MS + 1,
                ends_at_ms=START_MS + RETENTION_MS + 10 * HOLD_MS,
            )
        )

    @rule(pool=pools, batch=st.lists(requests, min_size=1, max_size=8))
    def reserve(self, pool: str, batch: list[tuple[int | None, str, int, str]]) -> None:
        numbered = [(self.new() if item[0] is None else item[0], *item[1:]) for item in batch]
        asked = [item for item in numbered if self.usable(item[0])]
        if asked:
            numbers, buyers, quantities, said = (
                list(column) for column in zip(*asked, strict=True)
            )
            columns = [key(n) for n in numbers], buyers, [str(units) for units in quantities]
            attests = said if any(said) else None
            reply = self.both(lambda store: store.reserve(pool, sum(quantities), *columns, attests))
            for number, digit in zip(numbers, reply.verdicts, strict=True):
                if digit == ord("0"):
                    self.granted.add(number)

    @rule(pool=pools, batch=st.lists(requests, min_size=3, max_size=8))
    def reserve_many(self, pool: str, batch: list[tuple[int | None, str, int, str]]) -> None:
        """Again, so that there is more to do something with."""
        self.reserve(pool, batch)

    @rule(
        cart=st.sampled_from([None, None, 0, 1]),
        buyer=st.sampled_from("abcde"),
        lines=st.lists(
            st.tuples(pools, st.integers(1, 2)),
            min_size=1,
            max_size=2,
            unique_by=lambda line: line[0],
        ),
        attests=attested,
    )
    def reserve_cart(
        self, cart: int | None, buyer: str, lines: list[tuple[str, int]], attests: str
    ) -> None:
        cart = self.new() if cart is None else cart
        numbers = [FIRST_CART_KEY + 2 * cart + index for index in range(len(lines))]
        if not all(self.usable(number) for number in numbers):
            return
        asked = [
            (pool, key(number), quantity)
            for number, (pool, quantity) in zip(numbers, lines, strict=True)
        ]
        reply = self.both(lambda store: store.reserve_cart(0, f"cart{cart}", buyer, asked, attests))
        for number, line in zip(numbers, reply.lines, strict=True):
            if reply.held and line.verdict is Verdict.HELD:
                self.granted.add(number)

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices)
    def repeat(self, choice: int) -> None:
        """6: whatever happened since, the same request is answered with the same reservation."""
        records = self.model.store.records
        digest = sorted(records)[choice % len(records)]
        record = records[digest]
        seq = self.model.store.seq
        if record.cart:
            line = (record.pool, digest, record.quantity)
            cart = self.both(lambda store: store.reserve_cart(0, record.cart, record.buyer, [line]))
            assert cart.lines[0].verdict is Verdict.REPLAYED
            assert cart.lines[0].record == record
            assert cart.seq == seq
        else:
            columns = [digest], [record.buyer], [str(record.quantity)]
            reply = self.both(lambda store: store.reserve(record.pool, 0, *columns))
            assert reply.verdicts == b"1"
            assert unpack_record(reply.replays[0].decode()).seq == record.seq

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, payment=payments)
    def confirm(self, choice: int, payment: str | None) -> None:
        reservation = self.some_reservation(choice, *PAYABLE)
        reference = payment or f"pay {self.new()}"
        self.both(lambda store: store.confirm(reservation, reference))

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, again=st.booleans())
    def pay(self, choice: int, again: bool) -> None:
        """With a payment of its own, or once more with the one that made it a sale."""
        state = ReservationState.CONFIRMED if again else ReservationState.EXPIRED
        reservation = self.some_reservation(choice, state)
        paid_with = self.model.store.records[reservation.digest].payment_ref
        reference = paid_with or f"pay {self.new()}"
        self.both(lambda store: store.confirm(reservation, reference))

    @rule(
        pool=pools,
        choice=st.sampled_from([None, None, None, 0, 1, 2]),
        buyer=st.sampled_from("abcde"),
        quantity=st.sampled_from([1, 1, 2, 3]),
        payment=payments,
        deadline_ms=st.sampled_from([-HOLD_MS, 0, HOLD_MS, NO_DEADLINE_MS]),
    )
    def reclaim(
        self,
        pool: str,
        choice: int | None,
        buyer: str,
        quantity: int,
        payment: str | None,
        deadline_ms: int,
    ) -> None:
        """A hold that was lost, or one whose digest is somebody's."""
        records = sorted(self.model.store.records)
        number = self.new()
        taken = choice is not None and records
        digest = records[choice % len(records)] if taken and choice is not None else key(number)
        reference = payment or f"pay {self.new()}"
        reservation = ReservationId(pool, digest)
        deadline_ms = min(self.now_ms + deadline_ms, NO_DEADLINE_MS)
        self.both(
            lambda store: store.reclaim(
                reservation, reference, buyer=buyer, quantity=quantity, deadline_ms=deadline_ms
            )
        )
        if not taken:
            self.granted.add(number)

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, kind=st.sampled_from(["cancelled", "revoked"]))
    def cancel(self, choice: int, kind: str) -> None:
        reservation = self.some_reservation(choice, *PAYABLE[:2])
        self.both(lambda store: store.cancel(reservation, kind))

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, extension_ms=st.sampled_from([1, HOLD_MS + 1, 5 * HOLD_MS]))
    def extend(self, choice: int, extension_ms: int) -> None:
        reservation = self.some_reservation(choice, *PAYABLE[:2])
        self.both(lambda store: store.extend(reservation, extension_ms))

    @precondition(lambda self: self.model.store.records)
    @rule(choice=choices, quantity=st.integers(0, 3), command=commands, restock=st.booleans())
    def return_sale(self, choice: int, quantity: int, command: str | None, restock: bool) -> None:
        reservation = self.some_reservation(choice, ReservationState.CONFIRMED)
        digest = command or f"command {self.new()}"
        self.commands.append(
            lambda store: store.return_sale(reservation, quantity, digest, restock=restock)
        )
        self.both(self.commands[-1])

    @rule(pool=pools, batch_max=st.integers(1, 4))
    def expire(self, pool: str, batch_max: int) -> None:
        self.both(lambda store: store.expire(pool, batch_max))

    @rule(pool=pools, total=st.integers(-3, 3), locked=st.integers(-2, 2), command=commands)
    def adjust(self, pool: str, total: int, locked: int, command: str | None) -> None:
        digest = command or f"command {self.new()}"
        self.commands.append(lambda store: store.adjust(pool, total, locked, digest))
        self.both(self.commands[-1])

    @precondition(lambda self: self.commands)
    @rule(choice=choices)
    def command_again(self, choice: int) -> None:
        self.both(self.commands[choice % len(self.commands)])

    @rule(pool=pools, what=rules, at_ms=st.integers(0, HOLD_MS), units=st.integers(1, 5))
    def change_rules(self, pool: str, what: str, at_ms: int, units: int) -> None:
        if what == "close" and len(self.model.store.log) < 20:
            return
        together = GROUPED if pool in GROUPED else (pool,)
        if what == "raise limit" and self.limits[pool]:
            self.limits |= {name: self.limits[name] + 1 for name in together}
        # A wave of units that may not be locked: it can only release what is.
        planned = encode_waves((Wave(self.now_ms + at_ms, units),))
        changes = {
            "pause": {"state": PoolState.PAUSED.value},
            "resume": {"state": PoolState.OPEN.value},
            "close": {"state": PoolState.CLOSED.value},
            "raise limit": {"per_buyer_limit": str(self.limits[pool])},
            "wave": {"waves": planned},
            **DOORS,
            **MODES,
        }
        for name in together if what == "raise limit" else (pool,):
            self.configure(name, changes[what])

    def configure(self, pool: str, changes: dict[str, str]) -> None:
        self.both(lambda store: store.configure(pool, changes, created=None))

    @rule(by_ms=moments)
    def wait(self, by_ms: int) -> None:
        self.move_clock(by_ms)

    @rule(choice=st.integers(0, 3))
    def wait_until_all_is_forgotten(self, choice: int) -> None:
        if choice == 1:
            self.move_clock(RETENTION_MS + 5 * HOLD_MS)
            for pool in POOLS:
                self.expire(pool, 8)
            self.move_clock(RETENTION_MS)
            for pool in POOLS:
                self.expire(pool, 8)

    @precondition(lambda self: self.model.store.due)
    @rule(early_ms=st.integers(0, 1))
    def wait_until_something_is_due(self, early_ms: int) -> None:
        due_ms = min(self.model.store.due.values()) - early_ms
        if due_ms < NO_DEADLINE_MS - 1:
            self.move_clock(max(0, due_ms - self.now_ms))

    @rule(pool=pools, digests_max=st.sampled_from([3, 1000]))
    def ask_what_is_known(self, pool: str, digests_max: int) -> None:
        known = self.both(lambda store: store.known(pool, digests_max))
        if known is not None:
            records = self.model.store.records.items()
            granted = {digest.encode() for digest, record in records if record.pool == pool}
            assert granted <= known[1]

    @invariant()
    def everything_holds(self) -> None:
        real = self.run(self.real.state(POOLS))
        assert real == self.run(self.model.state(POOLS))
        check(real, self.limits)


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize(("server", "share"), [("valkey_url", 1.0), ("redis_server_url", 0.25)])
def test_the_scripts_do_what_the_reference_does(request, server, share):
    run_beside(ShardMachine, request.getfixturevalue(server), share, EXAMPLES)
