"""Faults at random moments against one service that sells on; after every few, the history check.

The seed draws the order of the faults, their moments and lengths, and what buyers want. Real
processes decide the rest, so a seed repeats a campaign, not every interleaving of it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic

import psutil

from flashstock.client import PoolOrder
from flashstock.errors import FlashstockError
from flashstock.model.states import Durability, PoolState
from tests.chaos.faults import Kind
from tests.chaos.history import Findings, check_history
from tests.chaos.site import ADMIN_KEY, Site
from tests.chaos.traffic import Forgotten, Order, Stall, Traffic
from tests.recovery.audit import Books, read_books

FAULTS_BETWEEN_CHECKS = 12
BETWEEN_FAULTS_S = (0.05, 0.4)
AROUND_S = 0.25
"""An answer this close to a fault shows that there was traffic."""
REST_SECONDS = 60.0
FAULT_SECONDS = 60.0
BUYERS = 16
PLENTY, FEW = 1_000_000, 15
HOUR_S = 3_600
ASKED_AGAIN = 20

Say = Callable[[str], None]


@dataclass
class Fault:
    """One fault as it went."""

    number: int
    kind: Kind
    began: float
    in_flight: int
    happened: bool = False
    ended: float = 0.0
    traffic: bool = False
    away_s: float = 0.0
    """The longest time without a decided question, from its beginning until the next fault."""

    @property
    def fired(self) -> bool:
        return self.happened and self.traffic


@dataclass
class Outcome:
    """What a campaign has come to so far."""

    seed: int
    faults: list[Fault] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    orders: list[Order] = field(default_factory=list)
    unanswered: int = 0
    answered: int = 0
    replays: int = 0
    checks: int = 0

    @property
    def fired(self) -> list[Fault]:
        return [fault for fault in self.faults if fault.fired]

    @property
    def violations(self) -> list[str]:
        return self.findings.lines


class Campaign:
    """Runs until so many faults have fired, the time is over, or something is wrong."""

    def __init__(self, site: Site, kinds: Sequence[Kind], seed: int, say: Say) -> None:
        self._site = site
        self._random = Random(seed)
        self._say = say
        database = "sqlite" if site.postgres is None else "postgres"
        self._deck = _endless(
            [kind for kind in kinds if kind.database in ("", database)], self._random
        )
        self._round = 0
        self._traffic = Traffic(
            f"http://127.0.0.1:{site.client_wire.port}",
            (f"chaos-{seed}",),
            api_key=ADMIN_KEY,
            size=BUYERS,
            seed=seed,
        )
        self.outcome = Outcome(seed)

    async def run(self, faults: int, seconds: float) -> Outcome:
        outcome = self.outcome
        give_up_at = monotonic() + seconds
        await self._open(Stall("careful", fast=False, scarce=False))
        await self._open(Stall("fast", fast=True, scarce=False))
        await self._open_scarce()
        async with self._traffic:
            while not outcome.violations and len(outcome.fired) < faults:
                if monotonic() > give_up_at:
                    break
                wanted = min(FAULTS_BETWEEN_CHECKS, faults - len(outcome.fired))
                for _ in range(wanted):
                    await self._inflict(next(self._deck))
                    if outcome.violations:
                        return outcome
                await self._check()
        return outcome

    async def _inflict(self, kind: Kind) -> None:
        await asyncio.sleep(self._random.uniform(*BETWEEN_FAULTS_S))
        number = len(self.outcome.faults) + 1
        fault = Fault(number, kind, monotonic(), self._traffic.in_flight)
        self.outcome.faults.append(fault)
        # Its own source of chance: how the others went does not change what this one does.
        random = Random(f"{self.outcome.seed}-{number}")
        try:
            async with asyncio.timeout(FAULT_SECONDS):
                fault.happened = await kind.inflict(self._site, random)
        except psutil.NoSuchProcess:
            fault.happened = False
        except (AssertionError, RuntimeError, TimeoutError) as problem:
            reason = f"{type(problem).__name__} {problem}"
            self.outcome.findings.other.append(f"{kind.name} could not be undone: {reason}")
        fault.ended = monotonic()

    async def _check(self) -> None:
        """Come to rest, hold everything against everything, and go on selling."""
        outcome = self.outcome
        rests = await self._rest()
        self._account()
        if rests:
            await self._compare()
        outcome.orders = self._traffic.orders
        outcome.unanswered = self._traffic.unanswered
        outcome.answered = len(self._traffic.answers)
        outcome.replays = self._traffic.replays
        outcome.checks += 1
        last = ", ".join(
            f"{fault.kind.name}{'' if fault.fired else ' (missed)'}"
            for fault in outcome.faults[-FAULTS_BETWEEN_CHECKS:]
        )
        self._say(
            f"{len(outcome.fired)} fired, {len(outcome.orders)} wishes,"
            f" {outcome.answered} answers, {outcome.unanswered} unanswered: {last}"
        )
        if not outcome.violations:
            await self._open_scarce()
            self._traffic.resume()

    async def _rest(self) -> bool:
        """Wait until all is quiet and every question answered. Where it never comes to that, or
        somebody was told what nobody should be told, it is put down.
        """
        try:
            async with asyncio.timeout(REST_SECONDS):
                await self._traffic.settle()
                await _until(self._site.ops.ready)
                await _until(self._is_quiet)
        except (AssertionError, FlashstockError) as surprise:
            self._put_down(surprise)
            return False
        except TimeoutError:
            waiting = [wish for wish in self._traffic.wishes if not wish.settled]
            stuck = f"it did not come to rest; {len(waiting)} wishes wait: {waiting[:3]}"
            self.outcome.findings.other.append(stuck)
            return False
        return True

    def _put_down(self, surprise: AssertionError | FlashstockError) -> None:
        findings = self.outcome.findings
        kept_in = findings.lost if isinstance(surprise, Forgotten) else findings.other
        code = f"{surprise.code} " if isinstance(surprise, FlashstockError) else ""
        kept_in.append(f"{code}{surprise}")

    async def _is_quiet(self) -> bool:
        """No hold is about to expire, and the log is applied: SQL stands still."""
        for stall in self._traffic.stalls:
            if stall.scarce and (await self._site.ops.pool(stall.pool)).held:
                return False
        return (await self._site.ops.reconciliation()).lag_events == 0

    async def _compare(self) -> None:
        outcome, traffic = self.outcome, self._traffic
        books = await read_books(self._site.database_url)
        try:
            await self._ask_for_the_doubtful(books)
            known = [o for o in traffic.orders if o.reservation in books.reservations]
            for order in self._random.sample(known, min(ASKED_AGAIN, len(known))):
                await traffic.is_remembered(order)
            report = await self._site.ops.reconciliation()
            states = {
                stall.pool: (await self._site.ops.pool(stall.pool)).state
                for stall in traffic.stalls
            }
        except (AssertionError, FlashstockError) as surprise:
            self._put_down(surprise)
            return
        losses = [fault.ended for fault in outcome.faults if fault.kind.loses_fast]
        outcome.findings = check_history(books, traffic.orders, losses)
        if report.differences_count or not report.ok:
            outcome.findings.differences.append(f"{report}")
        closed = {pool: state for pool, state in states.items() if state is not PoolState.OPEN}
        if closed:
            outcome.findings.other.append(f"not open: {closed}")

    async def _ask_for_the_doubtful(self, books: Books) -> None:
        """A question that was lost on the way may be decided after the same one was refused.

        Then the key has a hold that nobody was told of; asked again, it must get that one.
        """
        by_buyer = {order.buyer: order for order in self._traffic.orders}
        told = {order.reservation for order in self._traffic.orders}
        for reservation in books.reservations.keys() - told:
            order = by_buyer.get(books.reservations[reservation].buyer)
            if order is not None and order.ever_in_doubt:
                await self._traffic.is_remembered(order)

    def _account(self) -> None:
        """Now that the answers around them are known: which faults met traffic, and for how long
        nobody was answered.
        """
        answers, faults = self._traffic.answers, self.outcome.faults
        for fault, following in zip(faults, [*faults[1:], None], strict=True):
            if fault.traffic:
                continue
            around = [
                at for at in answers if fault.began - AROUND_S <= at <= fault.ended + AROUND_S
            ]
            fault.traffic = fault.in_flight > 0 or bool(around)
            until = following.began if following is not None else monotonic()
            fault.away_s = _longest_gap(answers, fault.began, until)

    async def _open_scarce(self) -> None:
        """New small pools for the next stretch: the old ones are sold out."""
        self._round += 1
        kept = [stall for stall in self._traffic.stalls if not stall.scarce]
        self._traffic.stalls = kept
        for fast in (False, True):
            name = f"scarce-{'fast' if fast else 'careful'}-{self._round}"
            await self._open(Stall(name, fast=fast, scarce=True))

    async def _open(self, stall: Stall) -> None:
        await self._site.ops.open_pool(
            PoolOrder(
                stall.pool,
                "sku",
                FEW if stall.scarce else PLENTY,
                hold_seconds=1 if stall.scarce else HOUR_S,
                durability=Durability.FAST if stall.fast else Durability.LEDGER,
            )
        )
        self._traffic.stalls = [*self._traffic.stalls, stall]


async def _until(look: Callable[[], Awaitable[bool]]) -> None:
    while not await look():  # noqa: ASYNC110 (it is another process that changes)
        await asyncio.sleep(0.05)


def _endless(kinds: Sequence[Kind], random: Random) -> Iterator[Kind]:
    """Every kind once in each round, so that none is left out and none comes too often."""
    while True:
        yield from random.sample(kinds, len(kinds))


def _longest_gap(answers: Sequence[float], began: float, until: float) -> float:
    longest, last = 0.0, began
    for at in answers:
        if at > began:
            longest = max(longest, at - last)
            last = at
        if last > until:
            break
    return longest


def by_kind(faults: Sequence[Fault]) -> dict[str, list[Fault]]:
    """The faults of each kind, in the order of the kinds' names."""
    found: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        found[fault.kind.name].append(fault)
    return dict(sorted(found.items()))
