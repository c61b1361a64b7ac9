"""The writer process: all writers, the sweeper and the pauser in one event loop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.errors import ConfigurationError, Unavailable
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.servers import Servers
from flashstock.ledger.engine import check_durability
from flashstock.recovery.gate import Gate
from flashstock.writer.quarantine import QuarantinePauser
from flashstock.writer.sweeper import Sweeper
from flashstock.writer.writer import ShardWriter

logger = logging.getLogger(__name__)


class WriterProcess:
    """Runs until SIGTERM or SIGINT, then applies what is in the log and ends."""

    def __init__(
        self,
        engine: AsyncEngine,
        servers: Servers,
        gate: Gate,
        writers: Sequence[ShardWriter],
        sweeper: Sweeper,
        pauser: QuarantinePauser,
        beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        self._engine = engine
        self._servers = servers
        self._gate = gate
        self._writers = writers
        self._sweeper = sweeper
        self._pauser = pauser
        self._beside = beside
        """What else runs here, until the end, and may be cut off anywhere."""

    async def run(self) -> None:
        """Raises ``ConfigurationError`` where a store can't keep what we promise."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        opening = asyncio.create_task(self._gate.open_all())
        if not await _first(opening, stopping):
            await self._gate.stop()
            return
        await self._check_promises()
        beside = [asyncio.create_task(run()) for run in (self._pauser.run, *self._beside)]
        writing = [asyncio.create_task(writer.run()) for writer in self._writers]
        sweeping = asyncio.create_task(self._sweeper.run())
        logger.info("writing %d shard(s)", len(writing))
        await _first(asyncio.gather(*writing, sweeping), stopping)

        self._sweeper.stop()
        await sweeping
        for writer in self._writers:
            writer.stop()
        await asyncio.gather(*writing)
        await _ended(beside)
        await self._gate.stop()
        logger.info("the log is applied; ending")

    async def _check_promises(self) -> None:
        for finding in await check_durability(self._engine):
            logger.warning("DURABILITY AT RISK: %s", finding)
        try:
            with translated_failures():
                async with aclosing(self._servers.every_server()) as servers:
                    async for name, server in servers:
                        await _check_eviction(name, server)
        except Unavailable as failure:
            logger.warning("the eviction policy of some servers is unknown: %s", failure)


async def _check_eviction(name: str, server: Redis) -> None:
    """A replica counts too: it may be the primary tomorrow."""
    try:
        with translated_failures():
            policy = await server.config_get("maxmemory-policy")
    except Unavailable as failure:
        logger.warning("%s: the eviction policy is unknown: %s", name, failure)
        return
    found = policy.get("maxmemory-policy", "noeviction")
    if found not in ("noeviction", b"noeviction"):
        raise ConfigurationError(
            f"maxmemory-policy of {name} is {found}: it would evict reservations; set noeviction"
        )


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cut tasks off and wait for them: what they use is about to be closed."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _first(work: asyncio.Future[Any], stop: asyncio.Event) -> bool:
    """Wait for the work or the signal; ``True`` if the work came first (its failure is raised)."""
    stopped = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if work in done:
        work.result()
        return True
    return False
