"""The processes that ``serve`` starts, as seen from inside."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

import uvloop

from flashstock.cli.outcome import FAILED, REFUSED
from flashstock.config import Settings
from flashstock.errors import FlashstockError
from flashstock.supervisor.logs import configure_logging
from flashstock.supervisor.memory import settle_memory

_log = logging.getLogger("flashstock")


def run_api_process(settings: Settings, descriptor: int) -> None:
    """Serve requests until SIGTERM."""
    configure_logging("api-worker", settings.log_level)

    def run() -> None:
        from flashstock.supervisor.api_worker import run_api_worker

        run_api_worker(settings, descriptor)

    _logged(run)


def run_writer_process(settings: Settings, *, child: bool) -> None:
    """Apply the log until SIGTERM.

    Args:
        child: ``serve`` has prepared the stores; else the schema is brought up to date first.
    """
    configure_logging("writer", settings.log_level)

    async def run() -> None:
        from flashstock.bootstrap import run_writer
        from flashstock.embedded.stores import running_stores
        from flashstock.ledger.migrate import upgrade

        async with running_stores(settings, start=False) as stores:
            if not child:
                await upgrade(stores.ledger_url)
            asyncio.get_running_loop().call_later(1, settle_memory)
            await run_writer(stores)

    def run_on_uvloop() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())

    _logged(run_on_uvloop)


def _logged(run: Callable[[], None]) -> None:
    """Run; what goes wrong is logged like everything else that these processes say."""
    try:
        run()
    except FlashstockError as problem:
        _log.error("%s: %s", problem.code, problem.detail)
        sys.exit(REFUSED)
    except Exception:  # noqa: BLE001 (logged whole; nothing is above us but the end)
        _log.exception("this process ends")
        sys.exit(FAILED)
