"""Every answer says where the shard stands, so that no two decisions pass for one."""

from __future__ import annotations

import pytest

from flashstock.hotpath import keys
from flashstock.hotpath.log import LOG_START, ShardLog
from flashstock.hotpath.position import Position
from tests.reference.asking import create, hold, key, reserve

AHEAD_MS = 4_000_000_000_000
"""A clock of another machine, that went before this one's does."""


async def newest_id(shard) -> str:
    newest = await shard.client.xrevrange(keys.shard_log(0), count=1)
    return str(newest[0][0].decode())


def named(seq: int) -> Position:
    assert isinstance(seq, Position)
    return seq


async def stands_at(shard) -> Position:
    return named((await shard.store.lookup(0, ["-"])).seq)


async def milliseconds(shard) -> int:
    seconds, microseconds = await shard.client.time()
    return int(seconds) * 1_000 + int(microseconds) // 1_000


async def copied(shard) -> dict[bytes, bytes]:
    return {name: await shard.client.dump(name) for name in await shard.client.keys("*")}


async def become(shard, copy: dict[bytes, bytes]) -> None:
    """The scripts are kept, and whoever asks from now on knows nothing of what was before.

    No server becomes another's copy within a millisecond of its clock: nor does this one.
    """
    copied_at = await milliseconds(shard)
    while await milliseconds(shard) == copied_at:
        pass
    await shard.client.flushall()
    for name, value in copy.items():
        await shard.client.restore(name, 0, value)
    shard.store.open_shard(0, shard.scripts)


async def test_a_decision_is_named_by_the_log_entry_it_ends(shard):
    await create(shard.store)
    reply = await reserve(shard.store, "p", (1, "a", 1), (2, "b", 1))
    decided = named(reply.seq)
    assert (decided, decided.log_id) == (3, await newest_id(shard))
    refused = await reserve(shard.store, "p", (3, "c", 1_000))
    assert named(refused.seq).text() == (await stands_at(shard)).text() == decided.text()


async def test_what_older_scripts_decided_has_no_name(shard):
    """They know nothing of positions; theirs must not pass for one that was before."""
    await create(shard.store)
    before = await stands_at(shard)
    await shard.client.hset(keys.shard_meta(0), "seq", int(before) + 1)
    assert (await stands_at(shard)).text() == f"{before + 1}:"
    await shard.client.hdel(keys.shard_meta(0), "position")
    assert (await stands_at(shard)).text() == f"{before + 1}:"


@pytest.mark.parametrize("was_ahead", [False, True])
async def test_a_copy_that_goes_on_gives_its_decisions_other_names(shard, was_ahead):
    """Also while time stands still because the server's clock is behind the one before."""
    await create(shard.store)
    if was_ahead:
        await shard.client.hset(keys.shard_meta(0), "clock_ms", AHEAD_MS)
        await shard.client.execute_command("XSETID", keys.shard_log(0), f"{AHEAD_MS}-0")
    await hold(shard.store, "p", (1, "a", 1))
    copy = await copied(shard)
    first = named((await reserve(shard.store, "p", (2, "b", 1))).seq)
    await become(shard, copy)
    second = named((await reserve(shard.store, "p", (2, "b", 1))).seq)
    assert (first, first.log_id) != (second, second.log_id)
    assert first == second
    later = named((await reserve(shard.store, "p", (3, "c", 1), (4, "d", 1))).seq)
    entries = await ShardLog(shard.client, 0).read(LOG_START, entries_max=10)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    assert entries[-1].stream_id == later.log_id


async def test_a_log_is_known_by_what_stood_in_it(shard):
    log = ShardLog(shard.client, 0)
    await create(shard.store)
    before = await stands_at(shard)
    copy = await copied(shard)
    await hold(shard.store, "p", (1, "a", 1))
    followed = await stands_at(shard)
    assert await log.holds(before)
    assert await log.holds(followed)
    await become(shard, copy)
    assert await log.holds(before)
    assert not await log.holds(followed)
    await hold(shard.store, "p", (2, "b", 1), (3, "c", 1))
    assert await log.holds(before)
    assert not await log.holds(followed), "another decision has its number"


async def test_what_was_trimmed_or_rebuilt_is_believed(shard):
    log = ShardLog(shard.client, 0)
    assert await log.holds(Position(0, LOG_START)), "nothing has been decided yet"
    await create(shard.store)
    for number in range(3):
        await hold(shard.store, "p", (number, "a", 1))
    entries = await log.read(LOG_START, entries_max=10)
    trimmed = Position(entries[1].last_seq, entries[1].stream_id)
    await shard.client.xtrim(keys.shard_log(0), minid=entries[2].stream_id, approximate=False)
    assert await log.holds(trimmed)
    await shard.client.delete(keys.shard_log(0))
    assert await log.holds(Position(entries[-1].last_seq, entries[-1].stream_id))


async def test_a_position_is_asked_for_as_a_plain_number(shard):
    """The packer of commands takes no number that is more than one."""
    await create(shard.store)
    snapshot = await shard.store.snapshot("p")
    assert named(snapshot.seq) == 1
    status, _ = await shard.store.repair(
        "p", snapshot.seq, ["test", 10, 10, 0, 0, 0, 1, key(9), ""]
    )
    assert status.name == "REPAIRED"
