"""One replay from the file to the proof."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from flashstock.client import Client, CrowdTransport, LocalService
from flashstock.errors import ConfigurationError
from flashstock.model.rules import HOLD_SECONDS_DEFAULT, HOLD_SECONDS_MAX
from flashstock.replay.account import Account, BookFindings
from flashstock.replay.desk import Desk
from flashstock.replay.options import ReplayOptions
from flashstock.replay.plan import Day, Minute, lines_in, plan_day
from flashstock.replay.player import Player
from flashstock.replay.rows import BadRow, parse_rows
from flashstock.replay.shelves import Shelves
from flashstock.replay.stocking import plan_stocking
from flashstock.replay.text import read_text
from flashstock.replay.till import Till, Told
from flashstock.report.outcome import Outcome
from flashstock.report.progress import Rate, Snapshot, display_for, shown
from flashstock.report.proof import prove
from flashstock.report.running import on_service_of_its_own, say
from flashstock.report.summary import print_outcome
from flashstock.report.tally import Tally

BOOK_REQUESTS_MAX: Final = 4
"""Requests to the book under way at once: it moves one at a time."""
OPERATOR_TIMEOUT_MS: Final = 120_000
"""Proving a book adds up every movement, and setting a hundred items aside is one transaction."""


async def replay(options: ReplayOptions) -> int:
    """Play a day; the exit status says whether every invariant held.

    Raises:
        ConfigurationError: the file can't be read as a trading day.
        ServiceFailed: the embedded service did not start or ended.
        FlashstockError: the service did not take the stock in or did not let the proof be read.
    """
    started = time.monotonic()
    day = read_day(options)
    if options.url is not None:
        return await Replay(options, day, options.url).run(started)
    service = LocalService(options.data_dir, port=options.port, keep=options.keep)
    return await on_service_of_its_own(service, lambda url: Replay(options, day, url).run(started))


def read_day(options: ReplayOptions) -> Day:
    """Read and plan the file, and say how it was read where that is not plain.

    Raises:
        ConfigurationError: it has rows, and not one can be read.
    """
    text = read_text(options.file)
    if text.encoding != "utf-8":
        say(f"{options.file} is not UTF-8; read as {text.encoding}")
    rows = list(parse_rows(text.lines))
    bad = [row for row in rows if isinstance(row, BadRow)]
    if bad and len(bad) == len(rows):
        first = bad[0]
        raise ConfigurationError(
            f"{options.file}: none of its {len(rows):,} rows can be read; line {first.line}:"
            f" {first.reason} (a date is like 2010-12-01 08:26:00, a quantity like 6, a price"
            " like 2.55)"
        )
    return plan_day(rows)


class Replay:
    """One day, on a service that runs: receive, set aside, sell, send, take back, prove."""

    def __init__(self, options: ReplayOptions, day: Day, url: str) -> None:
        self._options = options
        self._day = day
        self._url = url
        run = f"replay-{secrets.token_hex(4)}"
        self._tally = Tally()
        self._operator = Client(url, api_key=options.api_key, timeout_ms=OPERATOR_TIMEOUT_MS)
        self._shop = Client(
            url,
            api_key=options.api_key,
            observe=self._tally.observe,
            transport=CrowdTransport(connections_max=options.concurrency),
        )
        self._stocking = plan_stocking(run, day, options.exact_stock_ratio)
        self._till = Till()
        self._account = Account(self._till)
        hold_seconds = HOLD_SECONDS_DEFAULT if options.confirm else HOLD_SECONDS_MAX
        self._shelves = Shelves(
            self._operator, self._account, self._stocking, hold_seconds=hold_seconds
        )
        self._player = Player(
            self._shop,
            self._till,
            self._tally,
            self._account.pools,
            run=run,
            confirm=options.confirm,
            concurrency=options.concurrency,
        )
        self._desk = Desk(
            self._shop,
            self._account,
            self._stocking,
            concurrency=min(BOOK_REQUESTS_MAX, options.concurrency),
        )
        self._rate = Rate()
        self._stage = "stocking"
        self._stage_seconds: dict[str, float] = {}
        self._clock = ""

    async def run(self, started: float) -> int:
        """Stock up, play the day, send and take back, clear away, prove and print.

        Args:
            started: when the replay began, on the monotonic clock.
        """
        async with self._operator, self._shop:
            async with shown(display_for(self._options.json_output), self._look):
                await self._timed("stocking", self._shelves.fill)
                await self._timed("sales", self._play)
                requests_of_the_day = self._tally.requests
                await self._timed("shipping", lambda: self._desk.ship(self._player.sold_carts))
                await self._timed("returns", lambda: self._desk.take_back(self._player.comebacks))
                await self._timed("clearing", self._shelves.clear)
            proving_from = time.monotonic()
            findings, reconciliation = await prove(
                self._operator, self._till.acknowledged(), self._till.expected()
            )
            book, identity = await self._shelves.prove()
            self._stage_seconds["proof"] = time.monotonic() - proving_from
        counts = dict.fromkeys(Told, 0)
        for purchase in self._till.purchases:
            counts[purchase.told] += 1
        sales_seconds = self._stage_seconds["sales"]
        outcome = Outcome(
            title=f"{self._options.file.name}, stock for {self._options.stock_ratio:g} of the day",
            address=self._url,
            seconds=time.monotonic() - started,
            requests=self._tally.requests,
            throughput_rps=requests_of_the_day / sales_seconds if sales_seconds else 0.0,
            throughput_of="the day",
            latency_ms=self._tally.latency_ms(),
            held=len(self._till.purchases),
            confirmed=counts[Told.CONFIRMED],
            expired=0,
            cancelled=0,
            refused=self._tally.refused,
            findings=findings,
            reconciliation=reconciliation,
            identity=identity,
            broken_promises=(
                *self._player.broken_promises,
                *self._desk.broken_promises,
                *book.described,
            ),
            more=self._more(counts[Told.NOTHING], book),
        )
        told = {**self._told(), "left_on_hand_units": book.on_hand}
        return print_outcome(outcome, told, json_output=self._options.json_output)

    async def _timed(self, stage: str, work: Callable[[], Awaitable[None]]) -> None:
        self._stage, began = stage, time.monotonic()
        self._rate = Rate()
        await work()
        self._stage_seconds[stage] = time.monotonic() - began

    async def _play(self) -> None:
        minutes: Sequence[Minute] = list(self._day.minutes())
        began = time.monotonic()
        for minute in minutes:
            self._clock = f"{minute.at:%H:%M}"
            if self._options.speed:
                day_seconds = (minute.at - minutes[0].at).total_seconds()
                due = began + day_seconds / self._options.speed
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._player.play(minute)
        self._clock = ""

    async def _look(self) -> Snapshot:
        done, goal, unit = self._progress()
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

    def _progress(self) -> tuple[int, int, str]:
        """How far the stage is, of how much, of what."""
        match self._stage:
            case "stocking":
                return len(self._shelves.filled), self._shelves.goal, "pools filled from the book"
            case "shipping":
                goal = sum(len(cart.purchases) for cart in self._player.sold_carts)
                return self._desk.orders_done, goal, "orders sent"
            case "returns":
                goal = len(self._player.comebacks)
                return self._desk.comebacks_done, goal, "returns booked"
            case "clearing":
                return (
                    len(self._shelves.cleared),
                    self._shelves.goal,
                    "pools given back to the book",
                )
            case _:
                goal = len(self._day.carts) + len(self._day.returns)
                return self._player.done, goal, "carts and returns"

    def _told(self) -> dict[str, int]:
        """The day in numbers, for people."""
        return {
            "rows": self._day.rows,
            "carts": len(self._day.carts),
            "carts_admitted": self._player.carts_admitted,
            "carts_refused": self._player.carts_refused,
            "received_units": self._account.received.total(),
            "allocated_units": self._account.allocated.total(),
            "sold_units": self._till.sold_units(),
            "shipped_units": self._till.shipped().total(),
            "returned_units": self._account.returned_units(),
            **{f"skipped: {reason}": count for reason, count in self._day.skipped.most_common()},
        }

    def _more(self, untold: int, book: BookFindings) -> dict[str, Any]:
        """What the JSON object has beyond that of every run."""
        return {
            "rows": self._day.rows,
            "carts": len(self._day.carts),
            "carts_admitted": self._player.carts_admitted,
            "carts_refused": self._player.carts_refused,
            "carts_untold": self._player.carts_untold,
            "rows_in_carts": lines_in(self._day.carts),
            "rows_returned": len(self._day.returns),
            "received_units": self._account.received.total(),
            "allocated_units": self._account.allocated.total(),
            "sold_units": self._till.sold_units(),
            "shipped_units": self._till.shipped().total(),
            "returned_units": self._account.returned_units(),
            "returned_units_of_earlier_days": self._account.of_earlier_days.total(),
            "left_on_hand_units": book.on_hand,
            "campaigns": self._shelves.campaigns,
            "shipments": self._desk.shipments,
            "skus_checked": book.skus_checked,
            "orders_checked": book.orders_checked,
            "skipped": dict(self._day.skipped),
            "untold": untold,
            "sent_again": self._tally.sent_again,
            "sent": dict(self._tally.sent),
            "pools": len(self._account.pools),
            "units_in_stock": self._account.received.total(),
            "stock_ratio": self._options.stock_ratio,
            "stage_seconds": {
                stage: round(seconds, 3) for stage, seconds in self._stage_seconds.items()
            },
        }
