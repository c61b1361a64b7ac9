"""``python -m tests.chaos.stock --minutes 5``: the stock book under fire, and our own count of it.

Faults hit the writer, the API workers, Valkey and SQL while stock is received, moved, set aside,
sold, sent and taken back. When everything has come to rest: the service's own proofs hold, nothing
is in flight, and every unit is where the answers that we were given say it is.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any

import httpx
import psutil

from tests.chaos.command import asked, parser_of, run_on_a_site, say
from tests.chaos.faults import PROCESS_KINDS, Kind
from tests.chaos.faults_between import BETWEEN_KINDS
from tests.chaos.site import ADMIN_KEY, Site
from tests.chaos.stock_crowd import AHEAD, PLAIN, Crowd
from tests.chaos.stock_desk import Desk, Tally

WORKERS = 8
BETWEEN_FAULTS_S = (0.5, 4.0)
FAULT_SECONDS = 60.0
REST_SECONDS = 90.0
ROUND_SECONDS = 40.0
"""After so long everything comes to rest, and is counted."""
SETTLED = 25
STATES = ("available", "committed", "locked", "unsellable", "campaign", "outgoing")
KINDS = tuple(
    kind
    for kind in (*PROCESS_KINDS, *BETWEEN_KINDS)
    if kind.name
    in (
        "worker-killed",
        "worker-frozen",
        "writer-killed",
        "writer-frozen",
        "second-writer",
        "service-killed",
        "valkey-killed",
        "valkey-tail-cut",
        "valkey-disk-lost",
        "sql-locked",
        "postgres-crashed",
        "backend-killed",
        "store-reply-lost",
        "rebuild-on-demand",
    )
)


@dataclass
class Outcome:
    """What a campaign has come to."""

    fired: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    rounds: int = 0

    @property
    def violations(self) -> list[str]:
        return self.tally.violations


class StockCampaign:
    """Rounds of traffic and faults; after each one, the count."""

    def __init__(
        self, site: Site, seed: int, say: Callable[[str], None], only: Collection[str] = ()
    ) -> None:
        self._site = site
        self._random = Random(seed)
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
        self, seconds: float, *, faults_wanted: int | None = None, changes_wanted: int = 0
    ) -> Outcome:
        """Go on for so long, or until something is wrong.

        Args:
            faults_wanted: how many have to fire in a round, which has no more of them and goes on
                until then. ``None``: as many as there is time for.
            changes_wanted: how many have to be acknowledged before the first round is over.
        """
        tally = self.outcome.tally
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=self._site.url, timeout=20.0)
            )
            admin = Desk(client, ADMIN_KEY, f"admin-{self._seed}", tally)
            desks = {}
            for name, role in (("ops", "ops"), ("boss", "ops"), ("shop", "storefront")):
                key = await admin.done("POST", "/v1/keys", {"name": name, "role": role})
                desks[name] = Desk(client, key["key"], f"{name}-{self._seed}", tally)
            crowd = Crowd(desks, tally, self._seed)
            await crowd.open_shop()
            give_up_at = monotonic() + seconds
            while monotonic() < give_up_at and not tally.violations:
                length_s = min(ROUND_SECONDS, seconds)
                await self._round(crowd, length_s, faults_wanted, changes_wanted)
                await self._count(crowd, desks["ops"], admin)
                self.outcome.rounds += 1
                self._say(
                    f"round {self.outcome.rounds}: {sum(self.outcome.fired.values())} faults,"
                    f" {tally.done.total()} changes, {tally.proofs} proofs"
                )
        return self.outcome

    async def _round(
        self, crowd: Crowd, seconds: float, faults_wanted: int | None, changes_wanted: int
    ) -> None:
        over, counted = asyncio.Event(), asyncio.Event()
        if not crowd.codes:
            await crowd.start_campaign()
        proving = asyncio.create_task(crowd.prove(counted))
        working = [asyncio.create_task(crowd.work(over)) for _ in range(WORKERS)]
        end_at = monotonic() + seconds
        tally, fired = self.outcome.tally, self.outcome.fired
        fired_before = fired.total()

        def is_over() -> bool:
            short = tally.done.total() < changes_wanted or (
                faults_wanted is not None and fired.total() - fired_before < faults_wanted
            )
            return monotonic() > end_at and not short

        while not is_over() and not tally.violations:
            await asyncio.sleep(self._random.uniform(*BETWEEN_FAULTS_S))
            if faults_wanted is None or fired.total() - fired_before < faults_wanted:
                await self._inflict(self._random.choice(self._kinds))
        over.set()
        await asyncio.gather(*working)
        counted.set()
        await proving

    async def _inflict(self, kind: Kind) -> None:
        try:
            async with asyncio.timeout(FAULT_SECONDS):
                fired = await kind.inflict(self._site, self._random)
        except psutil.NoSuchProcess:
            return
        except (AssertionError, RuntimeError, TimeoutError) as problem:
            self.outcome.tally.violations.append(f"{kind.name} could not be undone: {problem}")
            return
        self.outcome.fired[kind.name] += fired

    async def _count(self, crowd: Crowd, ops: Desk, admin: Desk) -> None:
        """End everything, come to rest, and compare."""
        tally = self.outcome.tally
        if tally.violations:
            return
        try:
            async with asyncio.timeout(REST_SECONDS):
                await crowd.end_all()
                await _until(lambda: _nothing_in_flight(ops))
                await _until(lambda: _no_hold_of(ops, crowd))
                await _until(lambda: _proved(ops))
                await _until(lambda: self._statistics_agree(ops, crowd))
        except TimeoutError:
            tally.violations.append(f"it did not come to rest: {await _in_flight(ops)}")
            return
        crowd.over.clear()
        report = await admin.done("GET", "/v1/ops/reconciliation")
        if not report["ok"]:
            tally.violations.append(f"reconciliation: {report['differences']}")
        proof = await ops.done("GET", "/v1/ops/stock/identity?deep=true")
        if not proof["ok"]:
            tally.violations.append(f"identity: {proof['differences']}")
        for sku in (*PLAIN, AHEAD):
            await self._compare(ops, sku)
        for order in self._random.sample(sorted(tally.orders), min(SETTLED, len(tally.orders))):
            await self._compare_order(ops, order)

    async def _statistics_agree(self, ops: Desk, crowd: Crowd) -> bool:
        """Sales are counted once, however many folders there were and whenever they died."""
        for code in crowd.over:
            found = await ops.ask("GET", f"/v1/statistics/campaigns/{code}?by=total")
            if not found.ok or found.body["total"]["paid_units"] != self.outcome.tally.sold(code):
                return False
        return True

    async def _compare(self, ops: Desk, sku: str) -> None:
        """Every unit of it is where we were told."""
        page = await ops.done("GET", f"/v1/stock/{sku}")
        company = page["company"]
        expected = self.outcome.tally.expected(sku)
        there = {state: company[state] for state in STATES if company[state]}
        if sku == AHEAD:  # what of it is available is a matter of allowances, which are proved
            there, expected = {"": company["on_hand"]}, {"": sum(expected.values())}
        if there != expected:
            self.outcome.tally.violations.append(f"{sku}: {there} instead of {expected}")

    async def _compare_order(self, ops: Desk, order_no: str) -> None:
        shown = await ops.done("GET", f"/v1/orders/{order_no}")
        told = self.outcome.tally.orders[order_no]
        found = (shown["quantity"], shown["shipped"], shown["returned"], shown["given_up"])
        ours = (told.quantity, told.shipped, told.came_back, told.withdrawn)
        if found != ours:
            self.outcome.tally.violations.append(f"order {order_no}: {found} instead of {ours}")


async def _until(look: Callable[[], Awaitable[bool]]) -> None:
    while not await look():  # noqa: ASYNC110 (it is another process that changes)
        await asyncio.sleep(0.1)


async def _nothing_in_flight(ops: Desk) -> bool:
    pending = await ops.done("GET", "/v1/orders/returns?state=pending")
    return not (await _in_flight(ops)) and not pending["items"]


async def _in_flight(ops: Desk) -> list[Any]:
    found: list[Any] = (await ops.done("GET", "/v1/ops/stock/in-flight"))["items"]
    return found


async def _no_hold_of(ops: Desk, crowd: Crowd) -> bool:
    """Every pool has given back what was not sold; gifts may be decided a moment later."""
    for code in crowd.over:
        for item in (await ops.done("GET", f"/v1/campaigns/{code}"))["items"]:
            counters = item["counters"]
            if counters is not None and counters["total"] != counters["sold"]:
                return False
    return True


async def _proved(ops: Desk) -> bool:
    return bool((await ops.done("GET", "/v1/ops/stock/identity"))["ok"])


def main() -> int:
    """0: the time was over, and nothing was wrong."""
    options = asked(parser_of("tests.chaos.stock", __doc__, minutes=5.0))
    say(f"seed {options.seed}, {options.database}")

    async def campaign(site: Site) -> Outcome:
        running = StockCampaign(site, options.seed, say, options.only)
        return await running.run(options.minutes * 60)

    outcome = run_on_a_site(options, campaign)
    tally = outcome.tally
    say(f"faults: {dict(outcome.fired)}")
    say(f"done: {dict((+tally.done).most_common())}")
    say(f"refused: {dict((+tally.refused).most_common())}")
    say(
        f"{sum(outcome.fired.values())} faults fired, {tally.done.total()} changes acknowledged,"
        f" {len(tally.orders)} orders, {tally.put_off + tally.unanswered} put off or lost,"
        f" {tally.proofs} proofs in traffic, {outcome.rounds} counts,"
        f" {len(tally.violations)} differences"
    )
    for line in tally.violations:
        say(f"  {line}")
    return 1 if tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
