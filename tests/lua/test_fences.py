"""A data set that is not ours is never touched, and a server that is not ours is noticed."""

from __future__ import annotations

import pytest

from flashstock.errors import Recovering
from flashstock.hotpath import keys
from flashstock.hotpath.scripts import (
    FENCED,
    STATUSES,
    RestoreStatus,
    TakeoverStatus,
    build_keys,
    script_set,
    script_source,
)
from flashstock.model.rules import PoolCounters
from tests.reference.asking import create, hold, key, reserve, target
from tests.reference.store import GENERATION
from tests.reference.subjects import RETENTION_MS

FENCED_SCRIPTS = [name for name, enum in STATUSES.items() if "FENCED" in enum.__members__]


def keys_of(name):
    if name == "restore":
        return [keys.shard_meta(0), "target"]
    return build_keys(name, 0, "p", key(1))


async def test_only_takeover_may_meet_another_generation():
    assert set(STATUSES) - set(FENCED_SCRIPTS) == {"takeover"}


@pytest.mark.parametrize("generation", ["0", "2", "1-token", None])
async def test_every_script_is_fenced(shard, generation):
    """Also where there is no data set at all."""
    await create(shard.store)
    await hold(shard.store, "p", (1, "a", 1))
    if generation is None:
        await shard.client.delete(keys.shard_meta(0))
    else:
        await shard.client.hset(keys.shard_meta(0), "generation", generation)
    before = {name: await shard.client.dump(name) for name in await shard.client.keys("*")}
    for name in FENCED_SCRIPTS:
        reply = await shard.client.evalsha(
            shard.scripts.shas[name], len(keys_of(name)), *keys_of(name), "p", "1", "1", 0
        )
        assert reply == [FENCED], name
    after = {name: await shard.client.dump(name) for name in await shard.client.keys("*")}
    assert after == before


async def test_a_data_set_that_is_behind_what_the_caller_knows_is_left_alone(shard):
    """A server that was a replica for a while has our scripts still, but perhaps not our data."""
    await create(shard.store)
    await hold(shard.store, "p", (1, "a", 1))
    position = await shard.store.seq(0)
    before = {name: await shard.client.dump(name) for name in await shard.client.keys("*")}
    for name in sorted(set(FENCED_SCRIPTS) - {"restore"}):
        reply = await shard.client.evalsha(
            shard.scripts.shas[name],
            len(keys_of(name)),
            *keys_of(name),
            "p",
            "1",
            "1",
            position + 1,
        )
        assert reply == [FENCED], name
    after = {name: await shard.client.dump(name) for name in await shard.client.keys("*")}
    assert after == before
    shard.store.committed = lambda _: position
    await hold(shard.store, "p", (2, "b", 1))
    shard.store.committed = lambda _: position + 2
    with pytest.raises(Recovering):
        await reserve(shard.store, "p", (3, "c", 1))
    assert shard.lost == [0]


async def test_the_gate_closes_at_the_first_sign_of_another_data_set(shard):
    await create(shard.store)
    await shard.client.hset(keys.shard_meta(0), "generation", "2")
    with pytest.raises(Recovering):
        await reserve(shard.store, "p", (1, "a", 1))
    assert shard.lost == [0]
    assert shard.store.generation(0) is None
    await shard.client.hset(keys.shard_meta(0), "generation", GENERATION)
    with pytest.raises(Recovering):
        await shard.store.snapshot("p")
    assert shard.lost == [0]


async def test_a_server_that_forgot_the_scripts_is_another_server(shard):
    """A restart or a failover looks like this; nobody loads the scripts again by himself."""
    await create(shard.store)
    await shard.client.script_flush()
    with pytest.raises(Recovering):
        await reserve(shard.store, "p", (1, "a", 1))
    assert shard.lost == [0]
    with pytest.raises(Recovering):
        await shard.store.confirm(target("p", 1), "pay")
    await shard.load()
    await hold(shard.store, "p", (1, "a", 1))


async def test_an_emptied_server_is_another_data_set(shard):
    await create(shard.store)
    await shard.client.flushall()
    with pytest.raises(Recovering):
        await reserve(shard.store, "p", (1, "a", 1))
    assert await shard.client.keys("*") == []


async def take_over(shard, generation, token):
    sha = await shard.client.script_load(script_source("takeover"))
    return await shard.client.evalsha(sha, 1, keys.shard_meta(0), generation, token)


async def test_a_recoverer_closes_the_shard_to_everyone_else(shard):
    await create(shard.store)
    await hold(shard.store, "p", (1, "a", 1))
    assert (await take_over(shard, 2, "2-me")) == [TakeoverStatus.TAKEN, 2, 0]
    with pytest.raises(Recovering):
        await shard.store.snapshot("p")
    assert (await take_over(shard, 2, "2-me")) == [TakeoverStatus.TAKEN, 2, 0]


@pytest.mark.parametrize(
    ("holder", "generation", "token"),
    [("3", 2, "2-me"), ("3-other", 2, "2-me"), ("2-other", 2, "2-me"), ("2", 2, "2-me")],
)
async def test_a_recoverer_that_was_overtaken_closes_nothing(shard, holder, generation, token):
    await shard.client.hset(keys.shard_meta(0), "generation", holder)
    assert (await take_over(shard, generation, token))[0] == TakeoverStatus.OVERTAKEN
    assert await shard.client.hget(keys.shard_meta(0), "generation") == holder.encode()


async def test_a_recoverer_of_an_empty_server_finds_nothing(shard):
    await shard.client.flushall()
    assert (await take_over(shard, 2, "2-me")) == [TakeoverStatus.TAKEN, -1, 0]
    assert await shard.client.hget(keys.shard_meta(0), "generation") == b"2-me"


async def restore(shard, token, *arguments, position=0):
    text = script_set(0, token, 0).texts["restore"]
    sha = await shard.client.script_load(text)
    return await shard.client.evalsha(sha, 2, keys.shard_meta(0), "target", *arguments, position)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("HSET", "field", "value"), b"hash"),
        (("ZADD", 7, "member"), b"zset"),
        (("SET", "text", "PX", 100_000), b"string"),
    ],
)
async def test_a_rebuilder_writes_with_its_own_token_only(shard, arguments, kind):
    await shard.client.hset(keys.shard_meta(0), "generation", "2-me")
    assert await restore(shard, "2-other", *arguments) == [RestoreStatus.FENCED]
    assert await shard.client.type("target") == b"none"
    assert await restore(shard, "2-me", *arguments) == [RestoreStatus.OK]
    assert await shard.client.type("target") == kind
    assert await restore(shard, "2-me", "UNLINK") == [RestoreStatus.OK]
    assert await shard.client.type("target") == b"none"


@pytest.mark.parametrize("position", [-1, 1])
async def test_a_rebuilder_goes_on_from_its_last_write_only(shard, position):
    """Where the data set stands elsewhere, some of what it wrote is gone."""
    await shard.client.hset(keys.shard_meta(0), "generation", "2-me")
    refused = await restore(shard, "2-me", "SET", "text", "PX", 100_000, position=position)
    assert refused == [RestoreStatus.FENCED]
    assert await shard.client.type("target") == b"none"


async def test_scripts_of_two_generations_are_different_scripts():
    old, new = script_set(0, "1", RETENTION_MS), script_set(0, "2", RETENTION_MS)
    shared = {name for name in STATUSES if old.shas[name] == new.shas[name]}
    assert shared == {"takeover"}


async def test_scripts_of_two_shards_are_different_scripts():
    """They may be on one server, and a generation of one is not that generation of the other."""
    one, other = script_set(0, "1", RETENTION_MS), script_set(1, "1", RETENTION_MS)
    shared = {name for name in STATUSES if one.shas[name] == other.shas[name]}
    assert shared == {"takeover"}


async def test_what_was_decided_before_stands_under_the_next_generation(shard):
    await create(shard.store)
    await hold(shard.store, "p", (1, "a", 1))
    await take_over(shard, 2, "2-me")
    await restore(shard, "2-me", "SET", "x")
    await shard.client.hset(keys.shard_meta(0), "generation", "2")
    shard.scripts = script_set(0, "2", RETENTION_MS)
    await shard.load()
    reply = await reserve(shard.store, "p", (1, "a", 1), (2, "b", 1))
    assert (reply.generation, reply.verdicts) == ("2", b"10")
    records = (await shard.store.lookup(0, [key(1), key(2)])).records
    assert [record.generation for record in records] == [1, 2]
    assert (await shard.store.snapshot("p")).counters == PoolCounters(10, 8, 2, 0, 0)
