"""Faults that kill nobody: on the wires, inside Valkey, and by operators at a bad moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from flashstock.client.core import NO_POLICY
from flashstock.errors import FlashstockError
from tests.chaos.faults import PROCESS_KINDS, Inflict, Kind
from tests.chaos.network import Cut, Way, Wire
from tests.chaos.site import Site

MET_SECONDS = 10.0
"""While a shard is being opened nothing may go over the wire for a while."""
BUSY_SCRIPT = "local n = 0 for i = 1, tonumber(ARGV[1]) do n = n + i % 7 end return n"


def _store(site: Site) -> Wire:
    return site.store_wire


def _client(site: Site) -> Wire:
    return site.client_wire


def _cut(wire_of: Callable[[Site], Wire], way: Way, *, inside: bool) -> Inflict:
    """Some connections end at the next bytes that go this way."""

    async def inflict(site: Site, random: Random) -> bool:
        wire = wire_of(site)
        before = wire.cuts
        for _ in range(random.randint(1, 4)):
            wire.due.append(Cut(way, random.uniform(0.05, 0.95) if inside else 0.0))
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + MET_SECONDS
        while wire.due and clock() < give_up_at:  # noqa: ASYNC110 (bytes come when they come)
            await asyncio.sleep(0.01)
        wire.due.clear()
        return wire.cuts > before

    return inflict


def _slow(wire_of: Callable[[Site], Wire]) -> Inflict:
    async def inflict(site: Site, random: Random) -> bool:
        wire = wire_of(site)
        before = wire.delayed
        wire.delay_s = random.uniform(0.02, 0.2)
        await asyncio.sleep(random.uniform(0.3, 1.2))
        wire.delay_s = 0.0
        return wire.delayed > before

    return inflict


def _silent(wire_of: Callable[[Site], Wire]) -> Inflict:
    async def inflict(site: Site, random: Random) -> bool:
        wire = wire_of(site)
        before = wire.delayed
        wire.withhold()
        await asyncio.sleep(random.uniform(0.1, 1.8))
        wire.release()
        return wire.delayed > before

    return inflict


def _unreachable(wire_of: Callable[[Site], Wire]) -> Inflict:
    async def inflict(site: Site, random: Random) -> bool:
        wire = wire_of(site)
        wire.refuses = True
        severed = wire.sever()
        await asyncio.sleep(random.uniform(0.1, 1.0))
        wire.refuses = False
        return severed > 0

    return inflict


def _told(tell: Callable[[Redis, Random], Awaitable[Any]]) -> Inflict:
    """Valkey is told something, past the wire, and says that it did it."""

    async def inflict(site: Site, random: Random) -> bool:
        try:
            async with site.admin() as admin:
                return bool(await tell(admin, random))
        except RedisError:
            return False

    return inflict


async def _flushed(admin: Redis, random: Random) -> Any:
    return await admin.flushall()


async def _scripts_flushed(admin: Redis, random: Random) -> Any:
    return await admin.script_flush()


async def _clients_killed(admin: Redis, random: Random) -> bool:
    killed = [
        await admin.execute_command("CLIENT", "KILL", "TYPE", kind) for kind in ("normal", "pubsub")
    ]
    return bool(sum(killed))


def _paused(what: str) -> Callable[[Redis, Random], Awaitable[bool]]:
    async def tell(admin: Redis, random: Random) -> bool:
        pause_ms = random.randint(100, 1_500)
        await admin.execute_command("CLIENT", "PAUSE", pause_ms, what)
        await asyncio.sleep(pause_ms / 1000)
        return True

    return tell


async def _out_of_memory(admin: Redis, random: Random) -> bool:
    await admin.config_set("maxmemory", "1mb")
    try:
        await asyncio.sleep(random.uniform(0.2, 1.0))
    finally:
        await admin.config_set("maxmemory", "0")
    return True


async def _demoted(admin: Redis, random: Random) -> bool:
    """A replica of nobody for a while: it refuses to write."""
    await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        await asyncio.sleep(random.uniform(0.1, 0.8))
    finally:
        await admin.execute_command("REPLICAOF", "NO", "ONE")
    return True


async def _busy(admin: Redis, random: Random) -> bool:
    """Somebody else's script holds it up."""
    await admin.eval(BUSY_SCRIPT, 0, str(random.randint(2_000_000, 20_000_000)))
    return True


def _asked(path: str) -> Inflict:
    """An operator asks for it over HTTP, not for a dry run; 200 says that it was done."""

    async def inflict(site: Site, random: Random) -> bool:
        try:
            await site.ops._send("ops", "POST", path, {"dry_run": False}, retry=NO_POLICY)
        except FlashstockError:
            return False
        return True

    return inflict


BETWEEN_KINDS = (
    Kind("store-request-lost", _cut(_store, Way.REQUEST, inside=False)),
    Kind("store-request-torn", _cut(_store, Way.REQUEST, inside=True)),
    Kind("store-reply-lost", _cut(_store, Way.REPLY, inside=False)),
    Kind("store-reply-torn", _cut(_store, Way.REPLY, inside=True)),
    Kind("store-slow", _slow(_store)),
    Kind("store-silent", _silent(_store)),
    Kind("store-unreachable", _unreachable(_store)),
    Kind("client-request-lost", _cut(_client, Way.REQUEST, inside=False)),
    Kind("client-request-torn", _cut(_client, Way.REQUEST, inside=True)),
    Kind("client-reply-lost", _cut(_client, Way.REPLY, inside=False)),
    Kind("client-reply-torn", _cut(_client, Way.REPLY, inside=True)),
    Kind("client-slow", _slow(_client)),
    Kind("client-unreachable", _unreachable(_client)),
    Kind("flushall", _told(_flushed), loses_fast=True),
    Kind("script-flush", _told(_scripts_flushed)),
    Kind("clients-killed", _told(_clients_killed)),
    Kind("clients-paused", _told(_paused("ALL"))),
    Kind("writes-paused", _told(_paused("WRITE"))),
    Kind("out-of-memory", _told(_out_of_memory)),
    Kind("demoted", _told(_demoted)),
    Kind("busy-script", _told(_busy)),
    Kind("rebuild-on-demand", _asked("/v1/ops/rebuild"), loses_fast=True),
    Kind("repair-in-traffic", _asked("/v1/ops/reconciliation/repair")),
)

KINDS = (*PROCESS_KINDS, *BETWEEN_KINDS)
