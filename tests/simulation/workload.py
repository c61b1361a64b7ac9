"""Customers and operators: what they ask for, how they retry, and what they make of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Final, Protocol

from flashstock import errors
from flashstock.model.eligibility import Attests, unmet_rule
from flashstock.model.ids import digest_of
from flashstock.model.records import ReservationRecord
from flashstock.model.rules import NO_DEADLINE_MS, PoolRules, Wave
from flashstock.model.states import DeductMode, Durability, PoolState, ReservationState
from flashstock.service.carts import CartAnswer
from flashstock.service.reservations import Answer
from tests.simulation.history import History
from tests.simulation.loop import SimulatedLoop
from tests.simulation.processes import CALLER, ApiProcess, Granted, signed
from tests.simulation.sql import Database

PATIENCE_S: Final = 4.0
TRIES_MAX: Final = 6
START_MS: Final = 1_800_000_000_000
"""What the clocks say when a world begins."""

Verb = Callable[[ApiProcess], Awaitable[Any]]


class Town(Protocol):
    """Where customers live."""

    loop: SimulatedLoop
    random: Random
    history: History
    apis: list[ApiProcess]
    database: Database


def draw_pools(random: Random) -> dict[str, tuple[PoolRules, int]]:
    """A few small pools: so small that they sell out, so short that holds expire."""
    pools = {}
    group = random.choice(("", "", "g:"))
    """The pools of a group have one limit, in one shard."""
    limit = random.choice((0, 0, 1, 2, 3))
    for number in range(random.choice((1, 1, 2, 3))):
        total = random.choice((1, 2, 3, 5, 8, 12))
        waves: tuple[Wave, ...] = ()
        if random.random() < 0.25:
            at_ms = START_MS + random.randrange(500, 5_000)
            waves = (Wave(at_ms, 1 + total // 3), Wave(at_ms + 1_500, 1))
        rules = PoolRules(
            sku="sku",
            per_buyer_limit=limit if group else random.choice((0, 0, 1, 2, 3)),
            hold_ms=random.choice((400, 1_500, 4_000, 60_000)),
            starts_at_ms=START_MS + 400 if random.random() < 0.1 else 0,
            ends_at_ms=START_MS + 5_000 if random.random() < 0.1 else 0,
            durability=Durability.FAST if random.random() < 0.25 else Durability.LEDGER,
            waves=waves,
            audience=random.choice(("",) * 8 + ("new", "level:3")),
            channels=random.choice(("",) * 9 + ("app,mini",)),
            deduct=random.choice((DeductMode.HOLD,) * 4 + (DeductMode.ORDER, DeductMode.PAYMENT)),
        )
        pools[f"{group}p{number}"] = (rules, total + sum(wave.quantity for wave in waves))
    return pools


class Caller:
    """Anyone who sends requests: to any process, again if need be, with the same key."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._random = town.random
        self._history = town.history

    async def _ask(self, verb: Verb, leaving: Callable[[Any], None]) -> Any:
        """One request; ``None``: no answer."""
        api = self._random.choice(self._town.apis)
        if api.process.dead:
            await asyncio.sleep(0.05)
            return None
        answer = api.serve(verb, leaving)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.shield(answer)
        except TimeoutError:
            return None

    async def _insist(self, verb: Verb, leaving: Callable[[Any], None]) -> Any:
        """The same request until there is a definite answer, or patience ends."""
        for attempt in range(TRIES_MAX):
            outcome = await self._ask(verb, leaving)
            if outcome is not None and not isinstance(outcome, errors.Unavailable):
                return outcome
            await asyncio.sleep(self._random.random() * 0.4 * (attempt + 1))
        return None

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.choice((0.001, 0.05, 0.5, 2.0)) * self._random.random())


class Customer(Caller):
    """One buyer: reserves, and then pays, gives up, waits too long or changes their mind."""

    def __init__(self, town: Town, name: str, rules: dict[str, PoolRules]) -> None:
        super().__init__(town)
        self._name = name
        self._rules = rules
        self._pools = list(rules)
        channel = self._random.choice(("app", "app", "web", ""))
        new = self._random.random() < 0.7
        self._attests = Attests(new, level=self._random.choice((0, 3, 5)), channel=channel)
        self._numbers = iter(range(1_000))
        self._payments: list[str] = []

    async def live(self) -> None:
        """A few purchases, some of them at once."""
        await asyncio.sleep(self._random.random() * 3)
        for _ in range(self._random.choice((1, 2, 2, 3))):
            if self._random.random() < 0.2:
                await asyncio.gather(self._buy(), self._buy())
            else:
                await self._buy()
            await self._pause()

    async def _buy(self) -> None:
        key = f"{self._name}.{next(self._numbers)}"
        if len(self._pools) > 1 and self._random.random() < 0.25:
            for line in await self.cart(key):
                await self._go_on(line)
            return
        pool = self._random.choice(self._pools)
        quantity = self._random.choice((1, 1, 1, 2))
        asked = [self.reserve(key, pool, quantity)]
        if self._random.random() < 0.2:
            asked.append(self.reserve(key, pool, quantity))
        granted = [one for one in await asyncio.gather(*asked) if one is not None]
        if granted:
            if self._random.random() < 0.25:
                await self.reserve(key, pool, quantity)
            await self._go_on(granted[0])

    async def reserve(self, key: str, pool: str, quantity: int) -> Granted | None:
        """Reserve; the same key until there is an answer."""
        reservation_id = f"{pool}~{digest_of('reservation', CALLER, key)}"

        async def verb(api: ApiProcess) -> Granted:
            granted_before = reservation_id in self._history.holds
            generation = api.store.generation(api.store.shard_of(pool))
            try:
                packed = self._attests.packed()
                return await api.reserve(key, pool, self._name, quantity, packed)
            except errors.FlashstockError as refusal:
                if granted_before and not self._may_be_news(api, pool, generation, refusal):
                    self._history.refused_again(reservation_id, refusal)
                raise

        def leaving(outcome: Any) -> None:
            if isinstance(outcome, Granted):
                self._as_the_rules_say(outcome.record)
                self._history.held(outcome)

        outcome = await self._insist(verb, leaving)
        return outcome if isinstance(outcome, Granted) else None

    def _as_the_rules_say(self, record: ReservationRecord) -> None:
        """By the rules that the pool was made with: they never change here."""
        rules = self._rules[record.pool]
        if unmet := unmet_rule(rules.audience, rules.channels, self._attests):
            self._history.against_a_rule(record, unmet)
        endless = record.deadline_ms == NO_DEADLINE_MS
        if record.state is ReservationState.HELD and endless != (rules.deduct is DeductMode.ORDER):
            self._history.against_a_rule(record, "deduct")

    def _may_be_news(
        self,
        api: ApiProcess,
        pool: str,
        generation: str | None,
        refusal: errors.FlashstockError,
    ) -> bool:
        """Refusals wait for nobody, so a process can be behind with one.

        It may say "sold out" from memory for a moment after another process granted; and while
        it is cut off from the data set of the present generation, it refuses what that one knows.
        """
        shard = api.store.shard_of(pool)
        present = str(self._town.database.tables.cursors[shard].generation)
        cut_off = not generation == api.store.generation(shard) == present
        return cut_off or (isinstance(refusal, errors.SoldOut) and len(self._town.apis) > 1)

    async def cart(self, key: str) -> list[Granted]:
        """Reserve one unit of every pool, or nothing."""
        lines = [(pool, 1) for pool in self._pools]

        def leaving(outcome: Any) -> None:
            if isinstance(outcome, CartAnswer):
                for granted in _cart_lines(outcome):
                    self._as_the_rules_say(granted.record)
                    self._history.held(granted)

        outcome = await self._insist(
            lambda api: api.carts.reserve(CALLER, key, self._name, lines, self._attests), leaving
        )
        return _cart_lines(outcome) if isinstance(outcome, CartAnswer) else []

    async def _go_on(self, granted: Granted) -> None:
        await self._pause()
        choice = self._random.random()
        if choice < 0.5:
            await self.confirm(granted, self._payment())
        elif choice < 0.62:
            await self.cancel(granted)
        elif choice < 0.7:
            await asyncio.gather(self.cancel(granted), self.confirm(granted, self._payment()))
        elif choice < 0.8:
            await self.extend(granted)
            await self._pause()
            await self.confirm(granted, self._payment())
        elif choice < 0.88:
            first, second = self._payment(), self._payment()
            await asyncio.gather(self.confirm(granted, first), self.confirm(granted, second))
        if self._random.random() < 0.15:
            await self.give_back(granted)
        if self._random.random() < 0.2:
            await self.confirm(granted, self._payment())

    def _payment(self) -> str:
        """A new payment; now and then one that was used already."""
        if self._payments and self._random.random() < 0.1:
            return self._random.choice(self._payments)
        payment = f"pay.{self._name}.{next(self._numbers)}"
        self._payments.append(payment)
        return payment

    async def confirm(self, granted: Granted, payment_ref: str) -> Any:
        """Pay."""
        receipt = granted.receipt if self._random.random() < 0.8 else None

        def leaving(outcome: Any) -> None:
            if isinstance(outcome, Answer):
                self._history.confirmed(outcome, payment_ref)
            elif isinstance(outcome, (errors.RefundDue, errors.AlreadyCancelled)):
                self._history.refund_promised(granted.id, payment_ref)
            elif outcome is not None:
                self._history.payment_refused(granted.id, outcome)
                self._history.refused(granted.id, outcome)

        return await self._insist(
            lambda api: api.reservations.confirm(granted.id, payment_ref, receipt), leaving
        )

    async def cancel(self, granted: Granted) -> Any:
        """Give up."""

        def leaving(outcome: Any) -> None:
            if isinstance(outcome, Answer):
                self._history.ended(outcome)
            elif outcome is not None:
                self._history.refused(granted.id, outcome)

        return await self._insist(lambda api: api.reservations.cancel(granted.id), leaving)

    async def extend(self, granted: Granted) -> Any:
        """Ask for more time."""
        seconds = self._random.choice((1, 5))

        def leaving(outcome: Any) -> None:
            if isinstance(outcome, Answer):
                self._history.extended(outcome)
            elif outcome is not None:
                self._history.refused(granted.id, outcome)

        return await self._insist(lambda api: api.reservations.extend(granted.id, seconds), leaving)

    async def give_back(self, granted: Granted) -> Any:
        """Return what was bought, in one or in several parts."""
        key = f"return.{self._name}.{next(self._numbers)}"
        quantity, restock = self._random.choice((0, 1)), self._random.random() < 0.5

        def leaving(outcome: Any) -> None:
            if isinstance(outcome, Answer):
                self._history.returned(outcome, key)
            elif outcome is not None:
                self._history.refused(granted.id, outcome)

        return await self._insist(
            lambda api: api.reservations.return_sale(
                CALLER, key, granted.id, quantity, restock=restock
            ),
            leaving,
        )


class Operator(Caller):
    """Creates the pools, and now and then changes one."""

    def __init__(self, town: Town, pools: dict[str, tuple[PoolRules, int]]) -> None:
        super().__init__(town)
        self._pools = pools

    async def open_pools(self) -> None:
        """Create every pool, however often that takes."""
        for pool, (rules, quantity) in self._pools.items():
            await self._until_done(
                partial(_create, pool, rules, quantity), partial(self._created, pool)
            )

    def _created(self, pool: str, outcome: Any) -> None:
        if isinstance(outcome, tuple):
            self._history.created(pool)

    async def _until_done(self, verb: Verb, leaving: Callable[[Any], None]) -> None:
        outcome = None
        while outcome is None:
            outcome = await self._insist(verb, leaving)

    async def live(self) -> None:
        """Some changes, and at the end every pool sells again."""
        for number in range(self._random.choice((0, 1, 2, 4))):
            await asyncio.sleep(self._random.random() * 1.5)
            pool = self._random.choice(list(self._pools))
            if self._random.random() < 0.7:
                deltas = self._random.choice(((3, 0), (-1, 0), (-4, 0), (0, 1), (0, -1), (2, 1)))
                await self._adjust(pool, f"adjust.{number}", *deltas)
            else:
                await self._set_state(pool, PoolState.PAUSED)
                await self._pause()
                await self._set_state(pool, PoolState.OPEN)

    async def work_once(self, key: str) -> None:
        """A change in every pool, until each is done: whatever stands still now is seen."""
        for pool in self._pools:
            outcome = None
            while outcome is None:
                outcome = await self._adjust(pool, f"{key}.{pool}", 1, 0)

    async def end_endless_holds(self, reservation_ids: list[str]) -> None:
        """Revoke what no deadline ends."""
        for reservation_id in reservation_ids:
            await self._until_done(
                partial(_revoke, reservation_id), partial(self._revoked, reservation_id)
            )

    def _revoked(self, reservation_id: str, outcome: Any) -> None:
        if not isinstance(outcome, Answer):
            self._history.refused(reservation_id, outcome)

    async def _adjust(self, pool: str, key: str, total_delta: int, locked_delta: int) -> Any:
        def leaving(outcome: Any) -> None:
            if isinstance(outcome, tuple):
                self._history.adjusted(key)

        return await self._insist(
            lambda api: api.pools.adjust(CALLER, key, pool, total_delta, locked_delta), leaving
        )

    async def _set_state(self, pool: str, state: PoolState) -> None:
        await self._until_done(lambda api: api.pools.set_state(pool, state), unnoticed)


async def _create(pool: str, rules: PoolRules, quantity: int, api: ApiProcess) -> Any:
    return await api.pools.create(pool, rules, quantity)


async def _revoke(reservation_id: str, api: ApiProcess) -> Any:
    return await api.reservations.cancel(reservation_id, "revoked")


def unnoticed(_outcome: Any) -> None:
    """For answers that promise nothing."""


def _cart_lines(answer: CartAnswer) -> list[Granted]:
    """The lines as single holds. A cart waits for SQL whatever the mode of its pools."""
    return [
        Granted(view.id, replace(view.record), signed(view.id, view.record), answer.replayed, False)
        for view in answer.reservations
    ]
