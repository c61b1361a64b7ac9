"""What every demo stands on: a service of its own, an operator, a crowd's shop, and an opening."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from flashstock.client import Client, CrowdTransport, LocalService, Pool
from flashstock.demo.options import DemoOptions
from flashstock.demo.pace import Pace
from flashstock.demo.scenario import EARLY_SECONDS, plan
from flashstock.errors import Unavailable
from flashstock.report.outcome import Outcome
from flashstock.report.progress import Rate, Snapshot
from flashstock.report.running import on_service_of_its_own
from flashstock.report.summary import print_outcome
from flashstock.report.tally import Tally

OPENING_MARGIN_SECONDS: Final = 0.3


class Play(Protocol):
    """A demo, on a service that runs."""

    async def run(self, started: float) -> Outcome:
        """Play it to its end, and prove.

        Args:
            started: when the demo began, on the monotonic clock.
        """
        ...

    def funnel(self) -> dict[str, int]:
        """What became of the requests, from many to few."""
        ...


async def demonstrate(options: DemoOptions, staged: Callable[[DemoOptions, str], Play]) -> int:
    """Run a demo; the exit status says whether every invariant held.

    Args:
        staged: makes the demo, given the address of its service.

    Raises:
        ServiceFailed: the service did not start.
        FlashstockError: the service did not do what an operator asked.
    """
    started = time.monotonic()
    service = LocalService(options.data_dir, port=options.port, keep=options.keep)

    async def open_sale(url: str) -> int:
        play = staged(options, url)
        outcome = await play.run(started)
        return print_outcome(outcome, play.funnel(), json_output=options.json_output)

    return await on_service_of_its_own(service, open_sale, stay=options.stay)


class Stage:
    """Who takes part, when it begins, and what is shown meanwhile.

    Args:
        url: of the service.
        title: over what is shown.
    """

    def __init__(self, options: DemoOptions, url: str, title: str) -> None:
        self.options = options
        self.url = url
        # Before the opening is set: it takes a moment, and early visits must be early.
        self.visits = plan(options)
        self.run: Final = secrets.token_hex(4)
        self.opens_at = datetime.now(UTC) + timedelta(
            seconds=EARLY_SECONDS + OPENING_MARGIN_SECONDS
        )
        self.opens_ms = int(self.opens_at.timestamp() * 1000)
        self.tally = Tally()
        self.operator = Client(url)
        self.shop = Client(
            url,
            observe=self.tally.observe,
            transport=CrowdTransport(connections_max=2 * options.concurrency),
        )
        self.pace = Pace(self.opens_ms, self.tally)
        self.note = ""
        self._title = title
        self._rate = Rate()
        self._stock: Pool | None = None

    async def look(self, pool: str, funnel: dict[str, int]) -> Snapshot:
        """The state of the demo, with the stock of a pool."""
        try:
            self._stock = await self.operator.pool(pool)
        except Unavailable:
            self.note = "the service does not answer"
        return Snapshot(
            title=self._title,
            unit="requests",
            done=min(self.tally.requests, self.options.requests),
            goal=self.options.requests,
            rate=self._rate(self.tally.requests),
            funnel=funnel,
            refused=self.tally.refused,
            stock=self._stock,
            note=self.note,
        )
