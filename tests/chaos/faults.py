"""What a fault is, and the ones that happen to processes: of the service and of its stores.

A fault returns whether it provably happened: the process is gone, the command was taken, bytes
met it. It leaves nothing behind that the service could not be expected to recover from by itself.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

import asyncpg
import psutil

from tests import servers
from tests.chaos.site import WORKERS, Site

Inflict = Callable[[Site, Random], Awaitable[bool]]

GONE_SECONDS = 20.0
CUT_BYTES_MAX = 20_000


@dataclass(frozen=True)
class Kind:
    """A kind of fault."""

    name: str
    inflict: Inflict
    loses_fast: bool = False
    """Whether it may lose holds of ``fast`` pools: what Redis knew, and SQL not yet, is gone."""
    database: str = ""
    """The only database to which it can happen; empty for any."""


def _signalled(what: str, how: signal.Signals) -> Inflict:
    async def inflict(site: Site, random: Random) -> bool:
        await site.let_live(what)
        victim = site.process(what, random.randrange(WORKERS))
        if victim is None:
            return False
        victim.send_signal(how)
        if how is signal.SIGKILL:
            return await _gone(victim)
        return True

    return inflict


async def _gone(victim: psutil.Process) -> bool:
    """Wait until it has ended; its parent, who is not us, buries it."""
    give_up_at = asyncio.get_running_loop().time() + GONE_SECONDS
    while asyncio.get_running_loop().time() < give_up_at:
        try:
            if not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        await asyncio.sleep(0.01)
    return False


def _frozen(what: str) -> Inflict:
    async def inflict(site: Site, random: Random) -> bool:
        victim = site.process(what, random.randrange(WORKERS))
        if victim is None:
            return False
        victim.suspend()
        try:
            await asyncio.sleep(random.uniform(0.1, 2.0))
            return bool(victim.status() == psutil.STATUS_STOPPED)
        finally:
            with suppress(psutil.NoSuchProcess):
                victim.resume()

    return inflict


async def _second_writer(site: Site, random: Random) -> bool:
    """It needs most of the time to start; then the two race for every batch."""
    writer = await asyncio.to_thread(site.start_writer)
    try:
        await asyncio.sleep(random.uniform(2.0, 3.0))
        return writer.poll() is None
    finally:
        writer.send_signal(random.choice((signal.SIGTERM, signal.SIGKILL)))
        await asyncio.to_thread(writer.wait, GONE_SECONDS)


async def _service_restarted(site: Site, random: Random) -> bool:
    status = await asyncio.to_thread(site.service.stop)
    survivors = site.service.survivors()
    await site.start_service()
    return status == 0 and not survivors


async def _service_killed(site: Site, random: Random) -> bool:
    await asyncio.to_thread(site.service.clean_up)
    await site.start_service()
    return True


async def _valkey_killed(site: Site, random: Random) -> bool:
    await asyncio.to_thread(site.hot.kill)
    await asyncio.sleep(random.uniform(0.0, 0.5))
    await asyncio.to_thread(site.hot.start)
    return True


async def _valkey_restarted(site: Site, random: Random) -> bool:
    await asyncio.to_thread(site.hot.stop)
    await asyncio.to_thread(site.hot.start)
    return True


async def _valkey_frozen(site: Site, random: Random) -> bool:
    return await _store_frozen(site.hot, random)


async def _valkey_tail_cut(site: Site, random: Random) -> bool:
    await asyncio.to_thread(site.hot.kill)
    newest = _append_only_files(site.hot)[-1]
    size = newest.stat().st_size
    kept = max(0, size - random.randint(1, CUT_BYTES_MAX))
    with newest.open("r+b") as file:
        file.truncate(kept)
    await asyncio.to_thread(site.hot.start)
    return size > kept


async def _valkey_emptied(site: Site, random: Random) -> bool:
    """Its disk is lost with it."""
    await asyncio.to_thread(site.hot.kill)
    files = _append_only_files(site.hot)
    for file in files[0].parent.iterdir():
        file.unlink()
    await asyncio.to_thread(site.hot.start)
    return True


def _append_only_files(server: servers.HotServer) -> list[Path]:
    """What was written since the last rewrite, the newest last."""
    found = (server._directory / "appendonlydir").glob("*.incr.aof")
    return sorted(found, key=lambda path: int(path.name.split(".")[-3]))


async def _postgres_crashed(site: Site, random: Random) -> bool:
    assert site.postgres is not None
    await asyncio.to_thread(site.postgres.crash)
    await asyncio.to_thread(site.postgres.start)
    return True


async def _postgres_frozen(site: Site, random: Random) -> bool:
    assert site.postgres is not None
    return await _store_frozen(site.postgres, random)


class _Freezable(Protocol):
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


async def _store_frozen(store: _Freezable, random: Random) -> bool:
    store.freeze()
    try:
        await asyncio.sleep(random.uniform(0.1, 2.0))
    finally:
        store.thaw()
    return True


def _backend(how: signal.Signals) -> Inflict:
    async def inflict(site: Site, random: Random) -> bool:
        if not (backends := await asyncio.to_thread(site.backends)):
            return False
        victim = random.choice(backends)
        try:
            victim.send_signal(how)
        except psutil.NoSuchProcess:
            return False
        return await _gone(victim)

    return inflict


async def _sql_locked(site: Site, random: Random) -> bool:
    try:
        async with site.sql_locked():
            await asyncio.sleep(random.uniform(0.2, 1.5))
    except (OSError, TimeoutError, sqlite3.Error, asyncpg.PostgresError):
        return False  # another fault still lasts
    return True


PROCESS_KINDS = (
    Kind("worker-killed", _signalled("worker", signal.SIGKILL)),
    Kind("worker-terminated", _signalled("worker", signal.SIGTERM)),
    Kind("worker-frozen", _frozen("worker")),
    Kind("writer-killed", _signalled("writer", signal.SIGKILL)),
    Kind("writer-terminated", _signalled("writer", signal.SIGTERM)),
    Kind("writer-frozen", _frozen("writer")),
    Kind("second-writer", _second_writer),
    Kind("service-restarted", _service_restarted),
    Kind("service-killed", _service_killed),
    Kind("valkey-killed", _valkey_killed),
    Kind("valkey-restarted", _valkey_restarted),
    Kind("valkey-frozen", _valkey_frozen),
    Kind("valkey-tail-cut", _valkey_tail_cut, loses_fast=True),
    Kind("valkey-disk-lost", _valkey_emptied, loses_fast=True),
    Kind("sql-locked", _sql_locked),
    Kind("postgres-crashed", _postgres_crashed, database="postgres"),
    Kind("postgres-frozen", _postgres_frozen, database="postgres"),
    Kind("backend-killed", _backend(signal.SIGKILL), database="postgres"),
    Kind("backend-terminated", _backend(signal.SIGTERM), database="postgres"),
)
