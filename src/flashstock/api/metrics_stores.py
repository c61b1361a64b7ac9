"""What the stores say for the metrics: asked at every scrape, within a second altogether."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flashstock.api.services import Services
from flashstock.api.shards import ShardStatus, shard_statuses
from flashstock.errors import Unavailable
from flashstock.hotpath.memory import ServerMemory, memory_of
from flashstock.ledger.stored import OpenMatters, StoredPool
from flashstock.notices.webhooks import Backlog

POOLS_SHOWN_MAX: Final = 1_000
"""One series for each state of each pool: beyond this many pools, the rest is left out."""
STORE_TIMEOUT_SECONDS: Final = 1.0

_log = logging.getLogger("flashstock.api.metrics")


@dataclass(slots=True)
class StoreView:
    """What the stores answered; ``None`` where they did not, in time."""

    pools: Sequence[StoredPool] | None = None
    shards: list[ShardStatus] | None = None
    matters: OpenMatters | None = None
    memory: Sequence[ServerMemory] | None = None
    flights: tuple[int, int] | None = None
    """Commands between the book and the pools, and the age of the oldest in ms."""
    backlog: Backlog | None = None
    warnings: Mapping[str, int] | None = None
    """Warnings that are raised and not cleared, by kind."""


async def look_at_stores(services: Services) -> StoreView:
    """Everything that comes in time; one store that is away does not silence the other."""
    view = StoreView()
    looks = (_look_at_sql(services, view), _look_at_redis(services, view))
    try:
        async with asyncio.timeout(STORE_TIMEOUT_SECONDS):
            for failure in await asyncio.gather(*looks, return_exceptions=True):
                if isinstance(failure, Unavailable):
                    _log.info("metrics without what a store says: %s", failure)
                elif isinstance(failure, BaseException):
                    raise failure
    except TimeoutError:
        _log.info("metrics without what a store says: it did not answer in time")
    return view


async def _look_at_sql(services: Services, view: StoreView) -> None:
    view.pools = await services.queries.pools("", POOLS_SHOWN_MAX)
    view.shards = await shard_statuses(services.store, services.queries, services.outages)
    view.matters = await services.queries.open_matters()
    if services.stock is not None:
        view.flights = await services.stock.campaigns.flights.counts()
        view.backlog = await services.stock.notices.webhooks.backlog()
        view.warnings = await services.stock.notices.warnings.open_by_kind()


async def _look_at_redis(services: Services, view: StoreView) -> None:
    view.memory = await memory_of(services.store.clients)
