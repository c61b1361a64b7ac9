"""Running stores for a command that is not ``serve``: the configured ones, or the embedded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from flashstock.config import Settings
from flashstock.embedded.children import end_process
from flashstock.embedded.directory import DataDirectory, DirectoryInUse
from flashstock.embedded.valkey import STOP_GRACE_SECONDS, EmbeddedValkey
from flashstock.errors import ConfigurationError


def embedded_valkey(settings: Settings) -> EmbeddedValkey:
    """The Valkey of this data directory, running or not."""
    return EmbeddedValkey(settings.data_dir / "valkey")


def with_embedded_urls(settings: Settings) -> Settings:
    """The settings with the addresses of the stores in the data directory filled in."""
    return settings.changed(
        redis_url=embedded_valkey(settings).url,
        database_url=settings.ledger_url,
        stores_embedded=settings.embedded,
    )


@asynccontextmanager
async def running_stores(settings: Settings, *, start: bool = True) -> AsyncIterator[Settings]:
    """Settings whose URLs name running stores.

    Where a Redis is configured, those are used as they are. Else it is the Valkey of the ``serve``
    that runs on the data directory; and where none runs, one is started for the time being, which
    keeps ``serve`` out.

    Args:
        start: whether one may be started.

    Raises:
        ConfigurationError: nothing runs on the data directory and ``start`` is off, or the
            Valkey can't be started.
    """
    if settings.redis_url is not None:
        yield settings
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(DataDirectory(settings.data_dir))
        except DirectoryInUse:
            yield with_embedded_urls(settings)
            return
        if not start:
            raise ConfigurationError(
                f"nothing runs on {settings.data_dir}: start 'flashstock serve' first, or set"
                " FLASHSTOCK_REDIS_URL and FLASHSTOCK_DATABASE_URL"
            )
        valkey = embedded_valkey(settings)
        process = await valkey.start()
        try:
            await valkey.wait_until_ready(process)
            yield with_embedded_urls(settings)
        finally:
            await end_process(process, STOP_GRACE_SECONDS)
