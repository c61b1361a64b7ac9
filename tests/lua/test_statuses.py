"""The integers themselves, where the store turns them into something friendlier."""

from __future__ import annotations

import pytest

from flashstock.hotpath import keys
from flashstock.hotpath.scripts import (
    AdjustStatus,
    ConfigureStatus,
    ExpireStatus,
    KnownStatus,
    ListOpenGroupsStatus,
    LookupStatus,
    ReadGroupsStatus,
    ReclaimStatus,
    RepairStatus,
    ReserveCartStatus,
    ReserveStatus,
    SnapshotStatus,
    SweepGroupsStatus,
    TakeSeatsStatus,
    build_keys,
)
from flashstock.model.rules import POOL_QUANTITY_MAX
from tests.reference.asking import create, hold, key

HERE, NOWHERE = "p", "nowhere"
NO_FLOOR = 0
REQUEST = [1, key(3), "b", "1"]


async def status(shard, name, pool, arguments, more_keys=()):
    key_list = [*build_keys(name, 0, pool, "command"), *more_keys]
    reply = await shard.client.evalsha(
        shard.scripts.shas[name], len(key_list), *key_list, *arguments, NO_FLOOR
    )
    return reply[0]


@pytest.mark.parametrize(
    ("name", "pool", "arguments", "expected"),
    [
        ("reserve", HERE, [HERE, *REQUEST], ReserveStatus.OK),
        ("reserve", NOWHERE, [NOWHERE, *REQUEST], ReserveStatus.UNKNOWN_POOL),
        ("expire", HERE, [HERE, 8], ExpireStatus.OK),
        ("expire", NOWHERE, [NOWHERE, 8], ExpireStatus.UNKNOWN_POOL),
        (
            "adjust",
            NOWHERE,
            [NOWHERE, 1, 0, "command", POOL_QUANTITY_MAX],
            AdjustStatus.UNKNOWN_POOL,
        ),
        (
            "configure",
            NOWHERE,
            [NOWHERE, "update", 0, 0, "", "state", "paused"],
            ConfigureStatus.UNKNOWN_POOL,
        ),
        (
            "reclaim",
            NOWHERE,
            [NOWHERE, key(3), "pay", "id", "a", 1, 1],
            ReclaimStatus.UNKNOWN_POOL,
        ),
        ("snapshot", HERE, [], SnapshotStatus.OK),
        ("snapshot", NOWHERE, [], SnapshotStatus.UNKNOWN_POOL),
        ("lookup", HERE, [key(1)], LookupStatus.OK),
        ("known", HERE, [2], KnownStatus.OK),
        ("known", HERE, [1], KnownStatus.TOO_MANY),
        ("known", NOWHERE, [1], KnownStatus.UNKNOWN_POOL),
        ("repair", NOWHERE, [NOWHERE, 2, "why", 0, 0, 0, 0, 0, 0], RepairStatus.UNKNOWN_POOL),
    ],
)
async def test_the_script_answers(shard, name, pool, arguments, expected):
    await create(shard.store)
    await hold(shard.store, "p", (1, "a", 1))
    if name == "known":
        await hold(shard.store, "p", (2, "a", 1))
    assert await status(shard, name, pool, arguments) == expected


@pytest.mark.parametrize(
    ("quantity", "expected"), [(10, ReserveCartStatus.HELD), (11, ReserveCartStatus.REFUSED)]
)
async def test_a_cart_is_held_or_refused(shard, quantity, expected):
    await create(shard.store)
    pool_keys = [build(0, "p") for build in (keys.pool, keys.deadlines, keys.buyers, keys.retired)]
    arguments = ["cart", "a", "p", key(1), quantity]
    assert await status(shard, "reserve_cart", "", arguments, pool_keys) == expected


async def test_known_counts_digests_and_not_batches(shard):
    """One member can hold 128 digests; the answer must not be larger than was asked for."""
    await create(shard.store, total=1000)
    await hold(shard.store, "p", *((number, "a", 1) for number in range(128)))
    assert await status(shard, "known", HERE, [127]) == KnownStatus.TOO_MANY
    assert await status(shard, "known", HERE, [128]) == KnownStatus.OK
    for number in range(200, 450):
        await hold(shard.store, "p", (number, "a", 1))
    assert await status(shard, "known", HERE, [377]) == KnownStatus.TOO_MANY
    assert await status(shard, "known", HERE, [378]) == KnownStatus.OK
    known = await shard.store.known("p", 378)
    assert known is not None
    assert len(known[1]) == 378


GROUPS = "groups"
SEAT = [1, key(3), "b", "1", "open"]


@pytest.mark.parametrize(
    ("name", "pool", "arguments", "expected"),
    [
        ("take_seats", GROUPS, SEAT, TakeSeatsStatus.OK),
        ("take_seats", HERE, SEAT, TakeSeatsStatus.NOT_A_GROUP_BUY),
        ("take_seats", NOWHERE, SEAT, TakeSeatsStatus.UNKNOWN_POOL),
        ("sweep_groups", GROUPS, [8], SweepGroupsStatus.OK),
        ("sweep_groups", NOWHERE, [8], SweepGroupsStatus.UNKNOWN_POOL),
        ("read_groups", GROUPS, [8, key(3)], ReadGroupsStatus.OK),
        ("list_open_groups", GROUPS, [8, "", ""], ListOpenGroupsStatus.OK),
        ("list_open_groups", HERE, [8, "", ""], ListOpenGroupsStatus.NOT_A_GROUP_BUY),
        ("list_open_groups", NOWHERE, [8, "", ""], ListOpenGroupsStatus.UNKNOWN_POOL),
        ("expire", GROUPS, [8], ExpireStatus.GROUP_POOL),
    ],
)
async def test_what_a_script_says_of_groups(shard, name, pool, arguments, expected):
    await create(shard.store, HERE)
    await create(shard.store, GROUPS, group_buy="3:60000:0:1:0:ordinary:pay:0:")
    assert await status(shard, name, pool, [pool, *arguments]) == expected
