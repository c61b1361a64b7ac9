"""A real service and a crowd that buys from it, while servers die under both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic

import psutil

from flashstock.client import Client, PoolOrder
from flashstock.model.ids import shard_of
from flashstock.model.states import Durability
from tests.acceptance.processes import Service, serving
from tests.chaos.history import Findings, check_history
from tests.chaos.traffic import Order, Stall, Traffic
from tests.failover.valkeys import PATIENCE_SECONDS, ManyServers
from tests.recovery.audit import Books, read_books

logger = logging.getLogger(__name__)

BUYERS = 8
PLENTY, FEW = 1_000_000, 12
ADMIN_KEY = "correct-horse-battery-staple"


@dataclass
class Sale:
    """What runs, and what was said to buyers."""

    service: Service
    database_url: str
    shard_count: int
    ops: Client
    traffic: Traffic

    def shard_of(self, order: Order) -> int:
        return shard_of(order.pool, self.shard_count)

    def acknowledged(self, shard: int) -> list[Order]:
        """Holds of ``ledger`` pools of one shard, as far as their buyers know."""
        return [
            order
            for order in self.traffic.orders
            if order.reservation and not order.stall.fast and self.shard_of(order) == shard
        ]

    async def acknowledged_more(self, shard: int, more: int) -> list[Order]:
        """Go on selling until so many more were acknowledged; those."""
        before = {order.key for order in self.acknowledged(shard)}
        found: list[Order] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(found) < more:
                self.traffic._raise_failures()
                await asyncio.sleep(0.02)
                found = [o for o in self.acknowledged(shard) if o.key not in before]
        return found

    @contextmanager
    def writer_stopped(self) -> Iterator[None]:
        """SIGSTOP for the writer: what is granted meanwhile is in no SQL."""
        writer = psutil.Process(self.service.running["writer_pid"])
        writer.suspend()
        try:
            yield
        finally:
            writer.resume()

    async def is_open_in(self, shards: Iterable[int]) -> None:
        """Wait until holds are granted again in each of the shards."""
        for shard in shards:
            await self.acknowledged_more(shard, 5)

    def say_how_long(self, what: str, since: float) -> None:
        """The longest time without an answer is measured, and asserted nowhere."""
        answers = sorted(at for at in self.traffic.answers if at >= since)
        gap = max(later - earlier for earlier, later in pairwise([since, *answers]))
        logger.info(
            "%s: nobody was answered for %.2f s; holds again in every shard after %.2f s",
            what,
            gap,
            now() - since,
        )

    async def settle(self) -> Books:
        """Every question has its answer, the log is applied, and nobody knows of a difference."""
        await self.traffic.settle()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await self.ops.reconciliation()).lag_events:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)
        report = await self.ops.reconciliation()
        assert report.ok, report
        assert report.differences_count == 0, report
        books = await read_books(self.database_url)
        # A question that was lost on the way may have been decided after it was asked again.
        told = {order.reservation for order in self.traffic.orders}
        by_buyer = {order.buyer: order for order in self.traffic.orders}
        for reservation in books.reservations.keys() - told:
            order = by_buyer[books.reservations[reservation].buyer]
            assert order.ever_in_doubt, order
            await self.traffic.is_remembered(order)
        return books

    async def check(self, lossy_until: float) -> Findings:
        """Hold all that was said against SQL; holds of ``fast`` pools may be lost up to then."""
        books = await self.settle()
        findings = check_history(books, self.traffic.orders, [lossy_until])
        assert findings.lines == []
        logger.info(
            "%d orders, %d holds, %d sales, %d fast holds lost",
            len(self.traffic.orders),
            len(books.reservations),
            len(books.orders),
            findings.fast_lost,
        )
        return findings


@asynccontextmanager
async def selling(
    many: ManyServers, directory: Path, *, shard_count: int = 1
) -> AsyncIterator[Sale]:
    """``flashstock serve`` with two workers on these servers, and buyers at it.

    Every shard has a ``ledger`` pool, a ``fast`` one, and one that sells out: there a replica that
    is behind has units left that are gone.
    """
    database_url = f"sqlite:///{directory / 'ledger.db'}"
    settings = {
        "FLASHSTOCK_REDIS_URL": many.url,
        "FLASHSTOCK_DATABASE_URL": database_url,
        "FLASHSTOCK_SHARD_COUNT": str(shard_count),
        "FLASHSTOCK_ADMIN_KEY": ADMIN_KEY,
    }
    with serving(directory / "data", "--workers", "2", settings=settings, hasty=True) as service:
        async with Client(service.url, api_key=ADMIN_KEY, timeout_ms=30_000) as ops:
            stalls = [
                stall
                for shard in range(shard_count)
                for stall in (
                    Stall(_named("careful", shard, shard_count), fast=False, scarce=False),
                    Stall(_named("fast", shard, shard_count), fast=True, scarce=False),
                    Stall(_named("few", shard, shard_count), fast=False, scarce=True),
                )
            ]
            for stall in stalls:
                durability = Durability.FAST if stall.fast else Durability.LEDGER
                quantity = FEW if stall.scarce else PLENTY
                order = PoolOrder(stall.pool, "sku", quantity, durability=durability)
                await ops.open_pool(order)
            traffic = Traffic(
                service.url, ("failover",), api_key=ADMIN_KEY, size=BUYERS, stalls=stalls
            )
            sale = Sale(service, database_url, shard_count, ops, traffic)
            async with traffic:
                try:
                    yield sale
                except BaseException:
                    logger.error("the service said:\n%s", service.log()[-4_000:])
                    raise


def _named(kind: str, shard: int, shard_count: int) -> str:
    """A pool of that kind that lives in the shard."""
    return next(
        name
        for name in (f"{kind}-{number}" for number in range(1_000))
        if shard_of(name, shard_count) == shard
    )


def now() -> float:
    """By the clock of the crowd's memory."""
    return monotonic()
