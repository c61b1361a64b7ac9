"""What a shard holds of groups: read off a server, and worked out from the reference's records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from flashstock.hotpath import keys
from flashstock.model.group_records import GroupRecord, unpack_group
from flashstock.model.states import GroupState
from tests.reference.group_store import ReferenceGroupStore
from tests.reference.groups import PAID, PENDING
from tests.reference.subjects import RETENTION_MS, InMemory


@dataclass
class PoolGroups:
    """All of one pool's groups beside the groups themselves."""

    open_count: int
    members: list[str]
    seats: dict[tuple[str, str], int]
    open: dict[str, int]
    ends: dict[str, int]


@dataclass
class Groups:
    groups: dict[str, GroupRecord]
    pools: dict[str, PoolGroups]


class GroupsInMemory(InMemory):
    """The reference, with groups."""

    store: ReferenceGroupStore

    def __init__(self) -> None:
        self.store = ReferenceGroupStore(RETENTION_MS)

    def groups(self, pools: Iterable[str]) -> Groups:
        store = self.store
        return Groups(
            {digest: store.record_of(group) for digest, group in store.groups.items()},
            {pool: self._pool_groups(pool) for pool in pools},
        )

    def _pool_groups(self, pool: str) -> PoolGroups:
        store = self.store
        groups = store.groups_of(pool)
        members = [
            store.member(digest, record)
            for group in groups
            for digest, record in store.seats(group, PENDING + PAID)
        ]
        return PoolGroups(
            sum(group.state is GroupState.OPEN for group in groups),
            sorted(members),
            store.seats_of_buyers(pool),
            {group.digest: score for score, group in store.open_groups(pool)},
            {group.digest: group.forget_at_ms or group.deadline_ms for group in groups},
        )


async def groups_on_server(client: Redis, pools: Iterable[str]) -> Groups:
    """Of shard 0."""
    packed: Any = await client.hgetall(keys.groups(0))
    return Groups(
        {digest.decode(): unpack_group(text.decode()) for digest, text in packed.items()},
        {pool: await _pool_groups(client, pool) for pool in pools},
    )


async def _pool_groups(client: Redis, pool: str) -> PoolGroups:
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.hget(keys.pool(0, pool), "groups_open")
        pipeline.zrange(keys.group_members(0, pool), 0, -1)
        pipeline.hgetall(keys.group_seats(0, pool))
        pipeline.zrange(keys.open_groups(0, pool), 0, -1, withscores=True)
        pipeline.zrange(keys.group_deadlines(0, pool), 0, -1, withscores=True)
        count, members, seats, opened, ends = await pipeline.execute()
    fields = ((name.decode().split("\t"), int(number)) for name, number in seats.items())
    return PoolGroups(
        int(count or 0),
        [member.decode() for member in members],
        {(group, buyer): number for (group, buyer), number in fields},
        {digest.decode(): int(score) for digest, score in opened},
        {digest.decode(): int(score) for digest, score in ends},
    )
