"""A group-buy from the start of the service to the proof: groups form and fail while one looks."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from flashstock.client import (
    Client,
    CrowdTransport,
    GroupBuy,
    LocalService,
    Pool,
    PoolOrder,
    Tier,
)
from flashstock.demo.group_crowd import GroupCrowd
from flashstock.demo.group_ends import GroupEnds
from flashstock.demo.group_seats import FAILED, FORMED, Register, SeatFate
from flashstock.demo.options import DemoOptions
from flashstock.demo.pace import Pace
from flashstock.demo.runner import OPENING_MARGIN_SECONDS
from flashstock.demo.scenario import EARLY_SECONDS, plan
from flashstock.errors import Unavailable
from flashstock.report.audit import PoolExpected
from flashstock.report.outcome import Outcome
from flashstock.report.progress import Rate, Snapshot, display_for, shown
from flashstock.report.proof import prove
from flashstock.report.running import on_service_of_its_own
from flashstock.report.summary import print_outcome
from flashstock.report.tally import Tally

ENDS_TIMEOUT_SECONDS: Final = 60.0
"""For groups that end by themselves, and seats that go with them; what does not is reported."""
ORDINARY: Final = {"size": 3, "house_max": 1}
SUPER: Final = {"size": 8, "house_max": 0, "type": "super", "deduct": "form"}
SUPER_TIERS: Final = (Tier(3, 1_990), Tier(6, 1_790), Tier(8, 1_490))


async def demonstrate_groups(options: DemoOptions) -> int:
    """Run the demo; the exit status says whether every invariant held.

    Raises:
        ServiceFailed: the service did not start.
        FlashstockError: the service did not do what an operator asked.
    """
    started = time.monotonic()
    service = LocalService(options.data_dir, port=options.port, keep=options.keep)

    async def open_sale(url: str) -> int:
        demo = GroupDemo(options, url)
        outcome = await demo.run(started)
        return print_outcome(outcome, demo.funnel(), json_output=options.json_output)

    return await on_service_of_its_own(service, open_sale)


class GroupDemo:
    """Two pools that sell to groups, and their crowd, on a service that runs.

    One sells to small groups and takes units as members pay; the other to large ones, whose price
    falls as they grow, and takes units when a group forms. Groups live about as long as holds.
    """

    def __init__(self, options: DemoOptions, url: str) -> None:
        self._options = options
        self._url = url
        self._visits = plan(options)
        run = secrets.token_hex(4)
        opens_at = datetime.now(UTC) + timedelta(seconds=EARLY_SECONDS + OPENING_MARGIN_SECONDS)
        life = options.hold_seconds + 1
        rules = (
            GroupBuy(life_seconds=life, **ORDINARY),  # type: ignore[arg-type]
            GroupBuy(life_seconds=life, tiers=SUPER_TIERS, **SUPER),  # type: ignore[arg-type]
        )
        half = options.units // 2
        self._orders = [
            PoolOrder(
                id=f"demo-{run}-{each.deduct}",
                sku="demo",
                quantity=units,
                hold_seconds=options.hold_seconds,
                starts_at=opens_at,
                group_buy=each,
            )
            for each, units in zip(rules, (options.units - half, half), strict=True)
        ]
        self._tally = Tally()
        self._operator = Client(url)
        self._shop = Client(
            url,
            observe=self._tally.observe,
            transport=CrowdTransport(connections_max=2 * options.concurrency),
        )
        self._pace = Pace(int(opens_at.timestamp() * 1000), self._tally)
        self._register = Register()
        pools = [order.id for order in self._orders]
        self._crowd = GroupCrowd(
            self._shop, options, pools, run, self._pace, self._tally, self._register
        )
        self._ends = GroupEnds(self._operator, self._register, pools)
        self._rate = Rate()
        self._stock: Pool | None = None
        self._note = ""

    async def run(self, started: float) -> Outcome:
        """Open the sale, let the crowd in, wait until the last group has ended, and prove.

        Args:
            started: when the demo began, on the monotonic clock.
        """
        async with self._operator, self._shop:
            for order in self._orders:
                await self._operator.open_pool(order)
            async with shown(display_for(self._options.json_output), self._look):
                watching = asyncio.create_task(self._ends.run())
                try:
                    await self._crowd.play(self._visits)
                    self._note = "waiting for the last groups to end"
                    await self._ends.wait(self._options.hold_seconds + ENDS_TIMEOUT_SECONDS)
                finally:
                    watching.cancel()
                self._note = ""
            return await self._outcome(started)

    def funnel(self) -> dict[str, int]:
        """What became of the requests, from many to few."""
        register = self._register
        seats = register.seats.values()
        paid = [seat for seat in seats if seat.fate is SeatFate.PAID]
        return {
            "refused": self._tally.refused.total(),
            "groups_opened": len(register.groups),
            "groups_formed": register.count(FORMED),
            "groups_failed": register.count(FAILED),
            "seats": len(register.seats),
            "paid": len(paid),
            "confirmed": sum(register.state_of(seat) == FORMED for seat in paid),
            "given_up": sum(seat.fate is SeatFate.GIVEN_UP for seat in seats),
            "refunded": len(self._refunds_due()),
            "repeats_checked": self._crowd.repeats_checked,
        }

    def _refunds_due(self) -> dict[str, str]:
        return {
            seat.payment_ref: seat.reservation
            for seat in self._register.seats.values()
            if seat.payment_ref is not None and seat.is_refunded(self._register.state_of(seat))
        }

    async def _look(self) -> Snapshot:
        try:
            self._stock = await self._operator.pool(self._orders[0].id)
        except Unavailable:
            self._note = "the service does not answer"
        return Snapshot(
            title="group-buy",
            unit="requests",
            done=min(self._tally.requests, self._options.requests),
            goal=self._options.requests,
            rate=self._rate(self._tally.requests),
            funnel=self.funnel(),
            refused=self._tally.refused,
            stock=self._stock,
            note=self._note,
        )

    async def _outcome(self, started: float) -> Outcome:
        register = self._register
        register.check_ends()
        seats = list(register.seats.values())
        expected = [
            PoolExpected(
                order.id,
                total=order.quantity,
                held=0,
                sold=register.sold_units(order.id),
                uncertain=register.uncertain_units(order.id) + self._crowd.untold_units[order.id],
            )
            for order in self._orders
        ]
        acknowledged = [seat.acknowledged(register.state_of(seat)) for seat in seats]
        findings, reconciliation = await prove(
            self._operator, acknowledged, expected, self._refunds_due()
        )
        funnel = self.funnel()
        ended = sum(seat.fate in (SeatFate.OPEN, SeatFate.REFUND_DUE) for seat in seats)
        return Outcome(
            title=f"{self._options.units} units for groups, {self._options.buyers:,} buyers",
            address=self._url,
            seconds=time.monotonic() - started,
            requests=self._tally.requests,
            throughput_rps=self._pace.rush_rps(),
            throughput_of="the rush",
            latency_ms=self._tally.latency_ms(),
            held=len(seats),
            confirmed=funnel["confirmed"],
            expired=ended,
            cancelled=funnel["given_up"],
            refused=self._tally.refused,
            findings=findings,
            reconciliation=reconciliation,
            broken_promises=tuple(register.broken_promises),
            more={
                "groups": {
                    "opened": funnel["groups_opened"],
                    "formed": funnel["groups_formed"],
                    "failed": funnel["groups_failed"],
                    "by_the_house": sum(group.house for group in register.groups.values()),
                },
                "refunded": funnel["refunded"],
                "untold": sum(seat.fate is SeatFate.UNTOLD for seat in seats),
                "repeats_checked": self._crowd.repeats_checked,
                "sent_again": self._tally.sent_again,
                "sent": dict(self._tally.sent),
                "buyers": self._options.buyers,
                "seed": self._options.seed,
            },
        )
