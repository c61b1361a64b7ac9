"""One replay from the file to the proof."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

from flashstock.client import Client, LocalService, PoolOrder
from flashstock.model.rules import HOLD_SECONDS_MAX, SKU_LENGTH_MAX
from flashstock.model.states import Durability
from flashstock.replay.options import ReplayOptions
from flashstock.replay.plan import Day, Minute, lines_in, plan_day, pool_of
from flashstock.replay.player import Player
from flashstock.replay.rows import parse_rows
from flashstock.replay.text import read_text
from flashstock.replay.till import Till, Told
from flashstock.report.outcome import Outcome
from flashstock.report.progress import Rate, Snapshot, display_for, shown
from flashstock.report.proof import prove
from flashstock.report.running import on_service_of_its_own, say
from flashstock.report.summary import print_outcome
from flashstock.report.tally import Tally

UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


async def replay(options: ReplayOptions) -> int:
    """Play a day; the exit status says whether every invariant held.

    Raises:
        ConfigurationError: the file can't be read as a trading day.
        ServiceFailed: the embedded service did not start or ended.
        FlashstockError: the service did not let the pools be opened or the proof be read.
    """
    started = time.monotonic()
    day = read_day(options)
    if options.url is not None:
        return await Replay(options, day, options.url).run(started)
    service = LocalService(options.data_dir, port=options.port, keep=options.keep)
    return await on_service_of_its_own(service, lambda url: Replay(options, day, url).run(started))


def read_day(options: ReplayOptions) -> Day:
    """Read and plan the file, and say how it was read where that is not plain."""
    text = read_text(options.file)
    if text.encoding != "utf-8":
        say(f"{options.file} is not UTF-8; read as {text.encoding}")
    return plan_day(parse_rows(text.lines))


class Replay:
    """One day, on a service that runs."""

    def __init__(self, options: ReplayOptions, day: Day, url: str) -> None:
        self._options = options
        self._day = day
        self._url = url
        run = f"replay-{secrets.token_hex(4)}"
        self._orders = [
            PoolOrder(
                id=pool_of(run, sku),
                sku=UNPRINTABLE.sub("_", sku)[:SKU_LENGTH_MAX],
                quantity=units,
                hold_seconds=None if options.confirm else HOLD_SECONDS_MAX,
                durability=Durability.LEDGER,
            )
            for sku, units in day.stock(options.exact_stock_ratio).items()
        ]
        self._till = Till({order.id: order.quantity for order in self._orders})
        self._tally = Tally()
        self._operator = Client(url, api_key=options.api_key)
        self._shop = Client(
            url,
            api_key=options.api_key,
            connections_max=options.concurrency,
            observe=self._tally.observe,
        )
        self._player = Player(
            self._shop,
            self._till,
            self._tally,
            run=run,
            confirm=options.confirm,
            concurrency=options.concurrency,
        )
        self._rate = Rate()
        self._opened = 0
        self._clock = ""

    async def run(self, started: float) -> int:
        """Open the pools, play the day, prove and print.

        Args:
            started: when the replay began, on the monotonic clock.
        """
        minutes = list(self._day.minutes())
        async with self._operator, self._shop:
            async with shown(display_for(self._options.json_output), self._look):
                await self._open_pools()
                played_from = time.monotonic()
                await self._play(minutes)
                played_seconds = time.monotonic() - played_from
            findings, reconciliation = await prove(
                self._operator, self._till.acknowledged(), self._till.expected()
            )
        counts = dict.fromkeys(Told, 0)
        for purchase in self._till.purchases:
            counts[purchase.told] += 1
        outcome = Outcome(
            title=f"{self._options.file.name}, stock for {self._options.stock_ratio:g} of the day",
            address=self._url,
            seconds=time.monotonic() - started,
            requests=self._tally.requests,
            throughput_rps=self._tally.requests / played_seconds if played_seconds else 0.0,
            throughput_of="the day",
            latency_ms=self._tally.latency_ms(),
            held=len(self._till.purchases),
            confirmed=counts[Told.CONFIRMED],
            expired=0,
            cancelled=0,
            refused=self._tally.refused,
            findings=findings,
            reconciliation=reconciliation,
            broken_promises=tuple(self._player.broken_promises),
            more=self._more(counts[Told.NOTHING]),
        )
        return print_outcome(outcome, self._told(), json_output=self._options.json_output)

    async def _open_pools(self) -> None:
        orders = iter(self._orders)

        async def work() -> None:
            for order in orders:
                await self._operator.open_pool(order)
                self._opened += 1

        await asyncio.gather(*(work() for _ in range(self._options.concurrency)))

    async def _play(self, minutes: Sequence[Minute]) -> None:
        began = time.monotonic()
        for minute in minutes:
            self._clock = f"{minute.at:%H:%M}"
            if self._options.speed:
                day_seconds = (minute.at - minutes[0].at).total_seconds()
                due = began + day_seconds / self._options.speed
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._player.play(minute)

    async def _look(self) -> Snapshot:
        opening = self._opened < len(self._orders)
        goal = len(self._day.carts) + len(self._day.returns)
        done, goal, unit = (
            (self._opened, len(self._orders), "pools opened")
            if opening
            else (self._player.done, goal, "carts and returns")
        )
        return Snapshot(
            title=f"replay of {self._options.file.name}",
            unit=unit,
            done=done,
            goal=goal,
            rate=self._rate(done),
            funnel=self._told(),
            refused=self._tally.refused,
            note=self._clock,
        )

    def _told(self) -> dict[str, int]:
        """The day in numbers, for people."""
        return {
            "rows": self._day.rows,
            "carts": len(self._day.carts),
            "carts_admitted": self._player.carts_admitted,
            "carts_refused": self._player.carts_refused,
            "sold_units": self._till.sold_units(),
            "returned_units": self._till.returned_units(),
            **{f"skipped: {reason}": count for reason, count in self._day.skipped.most_common()},
        }

    def _more(self, untold: int) -> dict[str, Any]:
        """What the JSON object has beyond that of every run."""
        return {
            "rows": self._day.rows,
            "carts": len(self._day.carts),
            "carts_admitted": self._player.carts_admitted,
            "carts_refused": self._player.carts_refused,
            "carts_untold": self._player.carts_untold,
            "rows_in_carts": lines_in(self._day.carts),
            "rows_returned": len(self._day.returns),
            "sold_units": self._till.sold_units(),
            "returned_units": self._till.returned_units(),
            "returned_units_of_earlier_days": self._till.booked_in_units(),
            "skipped": dict(self._day.skipped),
            "untold": untold,
            "sent_again": self._tally.sent_again,
            "sent": dict(self._tally.sent),
            "pools": len(self._orders),
            "units_in_stock": sum(order.quantity for order in self._orders),
            "stock_ratio": self._options.stock_ratio,
        }
