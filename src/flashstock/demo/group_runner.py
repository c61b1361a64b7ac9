"""A group-buy, from its opening to the proof: groups form and fail while one looks."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from flashstock.client import GroupBuy, PoolOrder, Tier
from flashstock.demo.group_crowd import GroupCrowd
from flashstock.demo.group_ends import GroupEnds
from flashstock.demo.group_seats import FAILED, FORMED, Register, SeatFate
from flashstock.demo.options import DemoOptions
from flashstock.demo.stage import Stage
from flashstock.report.audit import PoolExpected
from flashstock.report.outcome import Outcome
from flashstock.report.progress import Snapshot, display_for, shown
from flashstock.report.proof import prove

ENDS_TIMEOUT_SECONDS: Final = 60.0
"""For groups that end by themselves, and seats that go with them; what does not is reported."""
ORDINARY: Final = {"size": 3, "house_max": 1}
SUPER: Final = {"size": 8, "house_max": 0, "type": "super", "deduct": "form"}
SUPER_TIERS: Final = (Tier(3, 1_990), Tier(6, 1_790), Tier(8, 1_490))


class GroupDemo:
    """Two pools that sell to groups, and their crowd, on a service that runs.

    One sells to small groups and takes units as members pay; the other to large ones, whose price
    falls as they grow, and takes units when a group forms. Groups live about as long as holds.
    """

    def __init__(self, options: DemoOptions, url: str) -> None:
        self._stage = stage = Stage(options, url, "group-buy")
        self._options = options
        self._tally = stage.tally
        life = options.hold_seconds + 1
        rules = (
            GroupBuy(life_seconds=life, **ORDINARY),  # type: ignore[arg-type]
            GroupBuy(life_seconds=life, tiers=SUPER_TIERS, **SUPER),  # type: ignore[arg-type]
        )
        half = options.units // 2
        self._orders = [
            PoolOrder(
                id=f"demo-{stage.run}-{each.deduct}",
                sku="demo",
                quantity=units,
                hold_seconds=options.hold_seconds,
                starts_at=stage.opens_at,
                group_buy=each,
            )
            for each, units in zip(rules, (options.units - half, half), strict=True)
        ]
        self._register = Register()
        pools = [order.id for order in self._orders]
        self._crowd = GroupCrowd(
            stage.shop, options, pools, stage.run, stage.pace, stage.tally, self._register
        )
        self._ends = GroupEnds(stage.operator, self._register, pools)

    async def run(self, started: float) -> Outcome:
        """Open the sale, let the crowd in, wait until the last group has ended, and prove.

        Args:
            started: when the demo began, on the monotonic clock.
        """
        stage = self._stage
        async with stage.operator, stage.shop:
            for order in self._orders:
                await stage.operator.open_pool(order)
            async with shown(display_for(self._options.json_output), self._look):
                watching = asyncio.create_task(self._ends.run())
                try:
                    await self._crowd.play(stage.visits)
                    stage.note = "waiting for the last groups to end"
                    await self._ends.wait(self._options.hold_seconds + ENDS_TIMEOUT_SECONDS)
                finally:
                    watching.cancel()
                stage.note = ""
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
        return await self._stage.look(self._orders[0].id, self.funnel())

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
            self._stage.operator, acknowledged, expected, self._refunds_due()
        )
        funnel = self.funnel()
        ended = sum(seat.fate in (SeatFate.OPEN, SeatFate.REFUND_DUE) for seat in seats)
        return Outcome(
            title=f"{self._options.units} units for groups, {self._options.buyers:,} buyers",
            address=self._stage.url,
            seconds=time.monotonic() - started,
            requests=self._tally.requests,
            throughput_rps=self._stage.pace.rush_rps(),
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
