"""The examination: asks every store once, changes nothing, and goes on where one is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from flashstock.api.bodies import format_time
from flashstock.bootstrap import Stores, build_stores
from flashstock.config import Settings
from flashstock.doctor.findings import Finding, Level
from flashstock.doctor.judging import judge_database, judge_server
from flashstock.doctor.machine import examine_machine
from flashstock.embedded.directory import DataDirectory, DirectoryInUse
from flashstock.embedded.stores import with_embedded_urls
from flashstock.errors import ConfigurationError, Unavailable
from flashstock.hotpath import condition as hotpath_condition
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.log import ShardLog
from flashstock.ledger import condition as ledger_condition
from flashstock.ledger.condition import DatabaseCondition
from flashstock.model.addresses import FoundBy
from flashstock.supervisor.access import decide_access

PATIENCE_S: Final = 2.0
"""As long what is in the log may take to reach SQL before nobody seems to write it."""
PROCESSES_BESIDE_WORKERS: Final = 2
"""The writer, and a command like this one."""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Findings one by one, as they come."""
    for finding in examine_machine(settings):
        yield finding
    if settings.redis_url is None and (absent := _nothing_runs(settings)) is not None:
        yield absent
        return
    running = settings if settings.redis_url is not None else with_embedded_urls(settings)
    async for finding in _examine_stores(running):
        yield finding


def _nothing_runs(settings: Settings) -> Finding | None:
    """Why there are no embedded stores to ask; ``None``: there are."""
    if not settings.data_dir.is_dir():
        return Finding(
            "stores",
            Level.NOTE,
            f"there is no {settings.data_dir} yet",
            "Nothing is configured, so 'flashstock serve' will run a Valkey and SQLite there.",
            "Nothing.",
        )
    try:
        with DataDirectory(settings.data_dir):
            return Finding(
                "stores",
                Level.NOTE,
                f"nothing runs on {settings.data_dir}",
                "Its Valkey and its SQLite are examined while they run.",
                "Ask again beside a running 'flashstock serve'.",
            )
    except DirectoryInUse:
        return None
    except ConfigurationError as problem:
        return Finding(
            "stores",
            Level.PROBLEM,
            problem.detail,
            "'flashstock serve' keeps its stores there.",
            "Give it to the account that runs the service, or choose another.",
        )


async def _examine_stores(settings: Settings) -> AsyncIterator[Finding]:
    async with _connected(settings) as stores:
        reachable = True
        async for finding in _examine_redis(stores):
            reachable = reachable and finding.check != "Redis: reachable"
            yield finding
        try:
            database = await ledger_condition.condition_of(stores.engine)
        except Unavailable as failure:
            yield _away("SQL", failure)
            return
        for finding in judge_database(database, settings.workers + PROCESSES_BESIDE_WORKERS):
            yield finding
        if database.schema != database.schema_newest:
            return
        async for finding in _examine_ledger(settings, stores, database, reachable=reachable):
            yield finding


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Stores]:
    stores = build_stores(settings, b"")
    try:
        yield stores
    finally:
        await stores.close()


async def _examine_redis(stores: Stores) -> AsyncIterator[Finding]:
    alone = stores.servers.address.found_by is FoundBy.ADDRESS
    try:
        with translated_failures():
            async with aclosing(stores.servers.every_server()) as servers:
                async for name, client in servers:
                    shown = "Redis" if alone else name
                    try:
                        server = await hotpath_condition.condition_of(client)
                    except Unavailable as failure:
                        yield _away(shown, failure)
                        continue
                    for finding in judge_server(shown, server, may_be_replica=not alone):
                        yield finding
    except Unavailable as failure:
        yield _away("Redis", failure)


async def _examine_ledger(
    settings: Settings, stores: Stores, database: DatabaseCondition, *, reachable: bool
) -> AsyncIterator[Finding]:
    for finding in (*await _access(settings), *await _shard_count(settings, stores)):
        yield finding
    matters = await stores.queries.open_matters()
    if matters.quarantined_events:
        yield Finding(
            "quarantine",
            Level.PROBLEM,
            f"{matters.quarantined_events} events contradict {database.product}",
            "Their pools are paused, and what they tell of is not in the ledger.",
            "See docs/runbook.md#flashstockquarantine.",
        )
    if matters.refunds_due:
        yield Finding(
            "refunds",
            Level.WARNING,
            f"{matters.refunds_due} payments are due back",
            "Somebody paid too late, and nothing was left.",
            "GET /v1/ops/refunds; POST /v1/ops/refunds/{id}/settle once the money went back.",
        )
    if reachable:
        for shard in range(settings.shard_count):
            yield await _examine_shard(stores, shard)


async def _access(settings: Settings) -> list[Finding]:
    try:
        return [Finding("access", Level.OK, str(await decide_access(settings)))]
    except ConfigurationError as problem:
        return [
            Finding(
                "access",
                Level.PROBLEM,
                problem.detail,
                "'flashstock serve' refuses to start: everybody could take and give stock.",
                "flashstock keys create NAME, or FLASHSTOCK_ADMIN_KEY.",
            )
        ]


async def _shard_count(settings: Settings, stores: Stores) -> list[Finding]:
    made_for = await stores.queries.setting("shard_count")
    if made_for in (None, str(settings.shard_count)):
        return []
    finding = Finding(
        "shards",
        Level.PROBLEM,
        f"FLASHSTOCK_SHARD_COUNT is {settings.shard_count}, and the ledger was made for {made_for}",
        "A pool's shard follows from the number: every process refuses to start.",
        f"Set it to {made_for}; it is fixed at the first start.",
    )
    return [finding]


async def _examine_shard(stores: Stores, shard: int) -> Finding:
    check = f"shard {shard}"
    cursors = {cursor.shard: cursor for cursor in await stores.queries.cursors()}
    cursor = cursors.get(shard)
    try:
        position = await ShardLog(stores.servers.tailing[shard], shard).position()
    except Unavailable as failure:
        return _away(check, failure)
    if cursor is None:
        return Finding(check, Level.NOTE, "not opened yet", "The first start opens it.", "Nothing.")
    if position.generation != str(cursor.generation):
        return Finding(
            check,
            Level.WARNING,
            f"Redis is at generation {position.generation or 'none'}, SQL at {cursor.generation}",
            "It lost its data, or is being recovered: requests are answered 503 until it is.",
            "Nothing, if a service runs: it recovers the shard by itself. Else start one.",
        )
    lag = position.seq - cursor.seq
    if lag > 0 and not await _moves(stores, shard, cursor.seq):
        return Finding(
            check,
            Level.PROBLEM,
            f"{lag} events wait, and none was written for {PATIENCE_S:.0f} s",
            "No writer runs, or it can't write: nothing of a ledger pool is acknowledged.",
            "Start 'flashstock serve' or 'flashstock writer', or see its log.",
        )
    found = f"generation {cursor.generation}, {max(lag, 0)} events behind"
    outage = await stores.queries.last_given_back(shard, cursor.opened_generation)
    if outage is not None:
        began = format_time(outage.began_ms)
        found += f"; {outage.holds} holds got back the {outage.by_ms / 1_000:.0f} s from {began} on"
    return Finding(check, Level.OK, found)


async def _moves(stores: Stores, shard: int, since_seq: int) -> bool:
    give_up_at = asyncio.get_running_loop().time() + PATIENCE_S
    while asyncio.get_running_loop().time() < give_up_at:
        await asyncio.sleep(PATIENCE_S / 10)
        if any(
            one.seq != since_seq for one in await stores.queries.cursors() if one.shard == shard
        ):
            return True
    return False


def _away(name: str, failure: Unavailable) -> Finding:
    return Finding(
        f"{name}: reachable",
        Level.PROBLEM,
        failure.detail,
        "Without it every request is answered 503.",
        "Is it running, and do address, password and firewall let this machine in?",
    )
