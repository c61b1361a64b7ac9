"""One demo from the start of the service to the proof."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from flashstock.client import Client, CrowdTransport, LocalService, Pool, PoolOrder
from flashstock.demo.crowd import Crowd
from flashstock.demo.holds import Fate
from flashstock.demo.options import DemoOptions
from flashstock.demo.pace import Pace
from flashstock.demo.scenario import EARLY_SECONDS, plan
from flashstock.errors import Unavailable
from flashstock.model.states import Durability
from flashstock.report.audit import PoolExpected
from flashstock.report.outcome import Outcome
from flashstock.report.overlap import promised_at_once_max
from flashstock.report.progress import Rate, Snapshot, display_for, shown
from flashstock.report.proof import prove
from flashstock.report.running import on_service_of_its_own
from flashstock.report.summary import print_outcome
from flashstock.report.tally import Tally

OPENING_MARGIN_SECONDS: Final = 0.3
EXPIRY_TIMEOUT_SECONDS: Final = 10.0
EXPIRY_POLL_SECONDS: Final = 0.1


async def demonstrate(options: DemoOptions) -> int:
    """Run the demo; the exit status says whether every invariant held.

    Raises:
        ServiceFailed: the service did not start.
        FlashstockError: the service did not do what an operator asked.
    """
    started = time.monotonic()
    service = LocalService(options.data_dir, port=options.port, keep=options.keep)

    async def open_sale(url: str) -> int:
        demo = Demo(options, url)
        outcome = await demo.run(started)
        return print_outcome(outcome, demo.funnel(), json_output=options.json_output)

    return await on_service_of_its_own(service, open_sale, stay=options.stay)


class Demo:
    """One sale and its crowd, on a service that runs."""

    def __init__(self, options: DemoOptions, url: str) -> None:
        self._options = options
        self._url = url
        # Before the opening is set: it takes a moment, and early visits must be early.
        self._visits = plan(options)
        run = secrets.token_hex(4)
        opens_at = datetime.now(UTC) + timedelta(seconds=EARLY_SECONDS + OPENING_MARGIN_SECONDS)
        self._order = PoolOrder(
            id=f"demo-{run}",
            sku="demo",
            quantity=options.units,
            per_buyer_limit=options.per_buyer_limit,
            hold_seconds=options.hold_seconds,
            starts_at=opens_at,
            durability=Durability.LEDGER,
        )
        self._tally = Tally()
        self._operator = Client(url)
        self._shop = Client(
            url,
            observe=self._tally.observe,
            transport=CrowdTransport(connections_max=2 * options.concurrency),
        )
        self._opens_ms = int(opens_at.timestamp() * 1000)
        self._pace = Pace(self._opens_ms, self._tally)
        self._crowd = Crowd(self._shop, options, self._order.id, run, self._pace, self._tally)
        self._rate = Rate()
        self._stock: Pool | None = None
        self._note = ""

    async def run(self, started: float) -> Outcome:
        """Open the sale, let the crowd in, wait until the last hold has expired, and prove.

        Args:
            started: when the demo began, on the monotonic clock.
        """
        async with self._operator, self._shop:
            await self._operator.open_pool(self._order)
            async with shown(display_for(self._options.json_output), self._look):
                await self._crowd.play(self._visits)
                self._note = "waiting for the last holds to expire"
                await self._wait_until_nothing_is_held()
                self._note = ""
            return await self._outcome(started)

    def funnel(self) -> dict[str, int]:
        """What became of the requests, from many to few."""
        counts = self._crowd.counts()
        holds = self._crowd.holds.values()
        late = sum(hold.paid_late and hold.fate is Fate.CONFIRMED for hold in holds)
        return {
            "refused": self._tally.refused.total(),
            "held": len(self._crowd.holds),
            "confirmed": counts[Fate.CONFIRMED],
            "confirmed_late": late,
            "cancelled": counts[Fate.CANCELLED],
            "expired": self._crowd.expired(),
            "refund_due": counts[Fate.REFUND_DUE],
            "repeats_checked": self._crowd.repeats_checked,
        }

    async def _look(self) -> Snapshot:
        try:
            self._stock = await self._operator.pool(self._order.id)
        except Unavailable:
            self._note = "the service does not answer"
        return Snapshot(
            title="flash sale",
            unit="requests",
            done=min(self._tally.requests, self._options.requests),
            goal=self._options.requests,
            rate=self._rate(self._tally.requests),
            funnel=self.funnel(),
            refused=self._tally.refused,
            stock=self._stock,
            note=self._note,
        )

    async def _wait_until_nothing_is_held(self) -> None:
        """Bounded; holds that stay are found by the check afterwards."""
        deadline = time.monotonic() + self._options.hold_seconds + EXPIRY_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if (await self._operator.pool(self._order.id)).held == 0:
                return
            await asyncio.sleep(EXPIRY_POLL_SECONDS)

    async def _outcome(self, started: float) -> Outcome:
        holds = list(self._crowd.holds.values())
        counts = self._crowd.counts()
        sold = sum(hold.quantity for hold in holds if hold.fate is Fate.CONFIRMED)
        granted = sum(hold.quantity for hold in holds)
        untold = sum(hold.quantity for hold in holds if hold.fate is Fate.UNTOLD)
        expected = PoolExpected(
            self._order.id,
            total=self._options.units,
            held=0,
            sold=sold,
            uncertain=untold + self._crowd.untold_units,
        )
        refunds_due = {
            hold.payment_ref: hold.reservation
            for hold in holds
            if hold.fate is Fate.REFUND_DUE and hold.payment_ref is not None
        }
        findings, reconciliation = await prove(
            self._operator, (hold.acknowledged() for hold in holds), [expected], refunds_due
        )
        at_once = promised_at_once_max(promise for hold in holds for promise in hold.promises())
        beyond = max(0, at_once - self._options.units)
        broken = list(self._crowd.broken_promises)
        early = sum(hold.acknowledged_ms < self._opens_ms for hold in holds)
        if early:
            broken.append(f"{early} holds were given before the sale opened")
        if beyond:
            broken.append(f"{beyond} units beyond {self._options.units} were promised at once")
        funnel = self.funnel()
        return Outcome(
            title=f"{self._options.units} units, {self._options.buyers:,} buyers",
            address=self._url,
            seconds=time.monotonic() - started,
            requests=self._tally.requests,
            throughput_rps=self._pace.rush_rps(),
            throughput_of="the rush",
            latency_ms=self._tally.latency_ms(),
            held=len(holds),
            confirmed=counts[Fate.CONFIRMED],
            expired=self._crowd.expired(),
            cancelled=counts[Fate.CANCELLED],
            refused=self._tally.refused,
            findings=findings,
            reconciliation=reconciliation,
            broken_promises=tuple(broken),
            oversold_seen=beyond,
            more={
                "confirmed_late": funnel["confirmed_late"],
                "refund_due": funnel["refund_due"],
                "untold": counts[Fate.UNTOLD],
                "repeats_checked": self._crowd.repeats_checked,
                "sent_again": self._tally.sent_again,
                "sent": dict(self._tally.sent),
                "units": {
                    "total": self._options.units,
                    "granted": granted,
                    "sold": sold,
                    "resold": max(0, granted - self._options.units),
                    "promised_at_once_max": at_once,
                },
                "buyers": self._options.buyers,
                "seed": self._options.seed,
            },
        )
