"""``python -m tests.chaos.groups --minutes 5``: group-buys under fire, and our own count of them.

Faults hit every process, store and wire while a crowd opens groups, joins them, pays and leaves.
After each round everything comes to rest: every group has formed or failed, once; nobody sits in
it who did not pay, and nobody who paid is missing; every payment that was not served is on record
as a refund, once; and every unit is where the answers that we were given say it is.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from random import Random
from time import monotonic

import psutil
from sqlalchemy import select

from flashstock.client import Client, CrowdTransport, GroupBuy, PoolOrder, RetryPolicy
from flashstock.demo.group_crowd import GroupCrowd
from flashstock.demo.group_ends import GroupEnds
from flashstock.demo.group_seats import FAILED, FORMED, Register
from flashstock.demo.options import DemoOptions
from flashstock.demo.pace import Pace, now_ms
from flashstock.demo.scenario import plan
from flashstock.errors import FlashstockError
from flashstock.ledger.engine import create_engine, reading
from flashstock.ledger.tables import groups, refunds, reservations
from flashstock.report.audit import PoolExpected
from flashstock.report.proof import prove
from flashstock.report.tally import Tally
from tests.chaos.command import asked, parser_of, run_on_a_site, say
from tests.chaos.faults import Kind
from tests.chaos.faults_between import KINDS
from tests.chaos.site import ADMIN_KEY, Site

BETWEEN_FAULTS_S = (0.3, 2.0)
FAULT_SECONDS = 60.0
REST_SECONDS = 90.0
PATIENT = RetryPolicy(attempts_max=1_000, wait_max_ms=500, total_wait_max_ms=60_000)
"""Whoever is put off, or not answered, asks again with the same key until he is."""
HOLD_SECONDS = 2
LIFE_SECONDS = 4
UNITS = 60
BUYERS = 150
REQUESTS = 600
RULES = (
    GroupBuy(size=3, life_seconds=LIFE_SECONDS, house_max=1),
    GroupBuy(size=4, life_seconds=LIFE_SECONDS, deduct="form", seats_per_buyer=2),
)


@dataclass
class Outcome:
    """What a campaign has come to."""

    fired: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    rounds: int = 0
    seats: int = 0
    formed: int = 0
    failed: int = 0
    refunded: int = 0


class GroupCampaign:
    """Rounds of traffic and faults; after each one, the count."""

    def __init__(
        self, site: Site, seed: int, say: Callable[[str], None], only: Collection[str] = ()
    ) -> None:
        self._site = site
        self._random = Random(f"groups-{seed}")
        self._seed = seed
        self._say = say
        database = "sqlite" if site.postgres is None else "postgres"
        self._kinds = [
            kind
            for kind in KINDS
            if kind.database in ("", database) and (not only or kind.name in only)
        ]
        self.outcome = Outcome()

    async def run(
        self, seconds: float, *, rounds: int = 1_000, requests: int = REQUESTS, faults: int = 1_000
    ) -> Outcome:
        """Go on for so long, or for so many rounds, or until something is wrong.

        Args:
            faults: in a round, at most.
        """
        give_up_at = monotonic() + seconds
        while monotonic() < give_up_at and self.outcome.rounds < rounds:
            await self._round(requests, faults)
            self.outcome.rounds += 1
            self._say(
                f"round {self.outcome.rounds}: {sum(self.outcome.fired.values())} faults,"
                f" {self.outcome.seats} seats, {self.outcome.formed} groups formed,"
                f" {self.outcome.failed} failed, {self.outcome.refunded} refunds"
            )
            if self.outcome.violations:
                break
        return self.outcome

    async def _round(self, requests: int, faults: int) -> None:
        number = self.outcome.rounds
        run = f"chaos-{self._seed}-{number}"
        pools = [f"{run}-{rules.deduct}" for rules in RULES]
        for pool, rules in zip(pools, RULES, strict=True):
            await self._site.ops.open_pool(
                PoolOrder(pool, "sku", UNITS, hold_seconds=HOLD_SECONDS, group_buy=rules)
            )
        options = DemoOptions(
            units=UNITS,
            buyers=BUYERS,
            requests=requests,
            seed=self._seed * 1_000 + number,
            hold_seconds=HOLD_SECONDS,
            concurrency=16,
        )
        tally, register = Tally(), Register()
        shop = Client(
            f"http://127.0.0.1:{self._site.client_wire.port}",
            api_key=ADMIN_KEY,
            retry=PATIENT,
            observe=tally.observe,
            transport=CrowdTransport(connections_max=64),
        )
        async with shop:
            pace = Pace(now_ms(), tally)
            crowd = GroupCrowd(shop, options, pools, run, pace, tally, register)
            playing = asyncio.create_task(crowd.play(plan(options)))
            while not playing.done() and faults > 0:
                await asyncio.wait([playing], timeout=self._random.uniform(*BETWEEN_FAULTS_S))
                if not playing.done():
                    await self._inflict(self._random.choice(self._kinds))
                    faults -= 1
            await playing
        await self._count(crowd, register, pools)

    async def _inflict(self, kind: Kind) -> None:
        try:
            async with asyncio.timeout(FAULT_SECONDS):
                fired = await kind.inflict(self._site, self._random)
        except psutil.NoSuchProcess:
            return
        except (
            AssertionError,
            RuntimeError,
            TimeoutError,
            subprocess.SubprocessError,
        ) as problem:
            self.outcome.violations.append(f"{kind.name} could not be undone: {problem}")
            return
        self.outcome.fired[kind.name] += fired

    async def _count(self, crowd: GroupCrowd, register: Register, pools: list[str]) -> None:
        """Come to rest, and compare."""
        outcome = self.outcome
        try:
            async with asyncio.timeout(2 * REST_SECONDS):
                while not await self._site.ops.ready():  # noqa: ASYNC110 (another process changes)
                    await asyncio.sleep(0.1)
                await GroupEnds(self._site.ops, register, pools).wait(REST_SECONDS)
                register.check_ends()
                await self._prove(crowd, register, pools)
                await self._compare_groups(register, pools)
        except (TimeoutError, FlashstockError) as problem:
            outcome.violations.append(f"it did not come to rest: {problem!r}")
        outcome.violations += register.broken_promises
        outcome.seats += len(register.seats)
        outcome.formed += register.count(FORMED)
        outcome.failed += register.count(FAILED)

    async def _prove(self, crowd: GroupCrowd, register: Register, pools: list[str]) -> None:
        due = {
            seat.payment_ref: seat.reservation
            for seat in register.seats.values()
            if seat.payment_ref is not None and seat.is_refunded(register.state_of(seat))
        }
        expected = [
            PoolExpected(
                pool,
                total=UNITS,
                held=0,
                sold=register.sold_units(pool),
                uncertain=register.uncertain_units(pool) + crowd.untold_units[pool],
            )
            for pool in pools
        ]
        told = [seat.acknowledged(register.state_of(seat)) for seat in register.seats.values()]
        findings, report = await prove(self._site.ops, told, expected, due)
        self.outcome.refunded += len(due)
        self.outcome.violations += findings.described
        if not report.ok:
            self.outcome.violations.append(f"{report}")

    async def _compare_groups(self, register: Register, pools: list[str]) -> None:
        """SQL has the groups that we were told of, with the ends that we were told."""
        engine = create_engine(self._site.database_url)
        try:
            async with reading(engine) as connection:
                rows = (
                    await connection.execute(select(groups).where(groups.c.pool.in_(pools)))
                ).all()
                paid = (
                    await connection.execute(
                        select(reservations.c.payment_ref, reservations.c.state).where(
                            reservations.c.pool.in_(pools), reservations.c.payment_ref.is_not(None)
                        )
                    )
                ).all()
                back = (
                    await connection.execute(
                        select(refunds.c.payment_ref).where(refunds.c.pool.in_(pools))
                    )
                ).scalars()
        finally:
            await engine.dispose()
        found = {row.id: row for row in rows}
        for group in register.groups.values():
            row = found.pop(group.id, None)
            if row is None or row.state != group.state:
                self.outcome.violations.append(f"{group}: SQL has {row}")
            elif row.paid + row.house > row.size:
                self.outcome.violations.append(f"{row}: more seats are paid than it has")
        if found and not any(self._untold(register)):
            self.outcome.violations.append(f"nobody was told of {sorted(found)}")
        refunded = set(back)
        for payment_ref, state in paid:
            if (state == "refunded") != (payment_ref in refunded):
                self.outcome.violations.append(f"{payment_ref}: {state}, and refunds disagree")

    @staticmethod
    def _untold(register: Register) -> list[str]:
        return [seat.reservation for seat in register.seats.values() if seat.fate == "untold"]


def main() -> int:
    """0: the time was over, and nothing was wrong."""
    options = asked(parser_of("tests.chaos.groups", __doc__, minutes=5.0))
    say(f"seed {options.seed}, {options.database}")

    async def campaign(site: Site) -> Outcome:
        running = GroupCampaign(site, options.seed, say, options.only)
        return await running.run(options.minutes * 60)

    outcome = run_on_a_site(options, campaign)
    say(f"faults: {dict(outcome.fired)}")
    say(
        f"{sum(outcome.fired.values())} faults fired, {outcome.seats} seats,"
        f" {outcome.formed} groups formed, {outcome.failed} failed, {outcome.refunded} refunds,"
        f" {outcome.rounds} counts, {len(outcome.violations)} differences"
    )
    for line in outcome.violations[:50]:
        say(f"  {line}")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
