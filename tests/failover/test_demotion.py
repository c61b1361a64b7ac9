"""A server that was a replica for a while keeps its scripts, but not its data."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from flashstock.errors import Recovering, Unavailable
from tests.failover.valkeys import DATA, Server, eventually
from tests.recovery.node import Node, opened, settings_for, unopened
from tests.recovery.node import eventually as comes_true

POOL = "pool"
STOCK = 10


@pytest.fixture
def pair(binary: Path) -> Iterator[tuple[Server, Server]]:
    """A primary and its replica, which nobody watches."""
    directory = Path(tempfile.mkdtemp(prefix="flashstock-failover-"))
    primary, replica = (Server(binary, directory / name, dict(DATA)) for name in "ab")
    try:
        primary.start()
        replica.settings["replicaof"] = f"127.0.0.1 {primary.port}"
        replica.start()
        eventually(lambda: is_in_step(replica), "the replica is in step")
        yield primary, replica
    finally:
        primary.kill()
        replica.kill()
        shutil.rmtree(directory, ignore_errors=True)


def is_in_step(replica: Server) -> bool:
    return bool(replica.replication().get("master_link_status") == "up")


def demote(primary: Server, replica: Server) -> None:
    """The replica, which is behind, is the primary now, and the primary a copy of it."""
    replica.ask("REPLICAOF", "NO", "ONE")
    primary.ask("REPLICAOF", "127.0.0.1", replica.port)
    eventually(lambda: is_in_step(primary), "the old primary is in step")


async def trade(node: Node, primary: Server) -> set[str]:
    """Holds, of which the replica does not have all."""
    await node.create(POOL, STOCK)
    held = {await node.hold(POOL, "early")}
    primary.cut_replication()
    held |= {await node.hold(POOL, f"late-{number}") for number in range(3)}
    await node.is_applied()
    return held


async def held_later(node: Node) -> str:
    """A hold, or nothing while the shard is being opened: whoever looks may close it once more."""
    try:
        return await node.hold(POOL, "later")
    except Unavailable:
        return ""


async def is_whole(node: Node, held: set[str]) -> None:
    report = await node.reconciler.report()
    assert report["ok"], report
    assert report["differences"] == []
    rows = await node.stores.queries.open_reservations(0, "", 1_000)
    assert {row.id for row in rows} == held


@pytest.mark.parametrize("asked_meanwhile", [True, False])
async def test_a_primary_that_was_a_replica_is_not_believed(pair, sqlite_url, asked_meanwhile):
    primary, replica = pair
    settings = await settings_for(f"redis://127.0.0.1:{primary.port}", sqlite_url)
    async with opened(settings) as node:
        held = await trade(node, primary)
        before = int(str(node.stores.store.generation(0)))
        await asyncio.to_thread(demote, primary, replica)
        if asked_meanwhile:
            # The gate has to see it by itself, since no writer is there that could.
            await node.stop_writing()
            with pytest.raises(Recovering):
                await node.hold(POOL, "meanwhile")
        primary.ask("REPLICAOF", "NO", "ONE")

        async def recovered() -> bool:
            return int(node.stores.store.generation(0) or 0) > before

        await comes_true(recovered, "the shard is recovered")
        if asked_meanwhile:
            node.write()
        held.add(await comes_true(partial(held_later, node), "it grants holds again"))
        await is_whole(node, held)


async def test_nobody_is_let_in_to_a_replica(pair, sqlite_url):
    """All of it would be found right there, marker included; only writing is refused."""
    primary, replica = pair
    settings = await settings_for(f"redis://127.0.0.1:{primary.port}", sqlite_url)
    async with opened(settings) as node:
        await node.create(POOL, STOCK)
        held = {await node.hold(POOL, "early")}
        await node.is_applied()
        offset = primary.replication()["master_repl_offset"]
        eventually(lambda: replica.replication()["master_repl_offset"] >= offset, "it has all")
        await asyncio.to_thread(demote, primary, replica)
        late_comer = await unopened(settings)
        with pytest.raises(Recovering):
            await late_comer.gate._open_or_recover(0)
        await late_comer.close()
        assert (await node.recoverer.cursor(0)).generation == 2, "nothing was recovered either"
        primary.ask("REPLICAOF", "NO", "ONE")
        held.add(await comes_true(partial(held_later, node), "it grants holds again"))
        await node.is_applied()
        await is_whole(node, held)
