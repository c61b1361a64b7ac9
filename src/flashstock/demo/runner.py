"""A flash sale, from its opening to the proof."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from flashstock.client import PoolOrder
from flashstock.demo.crowd import Crowd
from flashstock.demo.holds import Fate
from flashstock.demo.options import DemoOptions
from flashstock.demo.stage import Stage
from flashstock.model.states import Durability
from flashstock.report.audit import PoolExpected
from flashstock.report.outcome import Outcome
from flashstock.report.overlap import promised_at_once_max
from flashstock.report.progress import Snapshot, display_for, shown
from flashstock.report.proof import prove

EXPIRY_TIMEOUT_SECONDS: Final = 10.0
EXPIRY_POLL_SECONDS: Final = 0.1


class Demo:
    """One sale and its crowd, on a service that runs."""

    def __init__(self, options: DemoOptions, url: str) -> None:
        self._stage = stage = Stage(options, url, "flash sale")
        self._options = options
        self._tally = stage.tally
        self._order = PoolOrder(
            id=f"demo-{stage.run}",
            sku="demo",
            quantity=options.units,
            per_buyer_limit=options.per_buyer_limit,
            hold_seconds=options.hold_seconds,
            starts_at=stage.opens_at,
            durability=Durability.LEDGER,
        )
        self._crowd = Crowd(stage.shop, options, self._order.id, stage.run, stage.pace, stage.tally)

    async def run(self, started: float) -> Outcome:
        """Open the sale, let the crowd in, wait until the last hold has expired, and prove.

        Args:
            started: when the demo began, on the monotonic clock.
        """
        stage = self._stage
        async with stage.operator, stage.shop:
            await stage.operator.open_pool(self._order)
            async with shown(display_for(self._options.json_output), self._look):
                await self._crowd.play(stage.visits)
                stage.note = "waiting for the last holds to expire"
                await self._wait_until_nothing_is_held()
                stage.note = ""
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
        return await self._stage.look(self._order.id, self.funnel())

    async def _wait_until_nothing_is_held(self) -> None:
        """Bounded; holds that stay are found by the check afterwards."""
        deadline = time.monotonic() + self._options.hold_seconds + EXPIRY_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if (await self._stage.operator.pool(self._order.id)).held == 0:
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
            self._stage.operator, (hold.acknowledged() for hold in holds), [expected], refunds_due
        )
        at_once = promised_at_once_max(promise for hold in holds for promise in hold.promises())
        beyond = max(0, at_once - self._options.units)
        broken = list(self._crowd.broken_promises)
        early = sum(hold.acknowledged_ms < self._stage.opens_ms for hold in holds)
        if early:
            broken.append(f"{early} holds were given before the sale opened")
        if beyond:
            broken.append(f"{beyond} units beyond {self._options.units} were promised at once")
        funnel = self.funnel()
        return Outcome(
            title=f"{self._options.units} units, {self._options.buyers:,} buyers",
            address=self._stage.url,
            seconds=time.monotonic() - started,
            requests=self._tally.requests,
            throughput_rps=self._stage.pace.rush_rps(),
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
