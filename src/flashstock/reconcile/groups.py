"""Comparing groups: what SQL says of each, and of who is in it, with what Redis says.

As with reservations, a group that looks different is looked at again once the writer has passed
the point at which Redis was read: what is still different then, and unchanged, is a difference.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flashstock.hotpath import keys
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.store import HotStore
from flashstock.ledger.group_queries import StoredGroup
from flashstock.ledger.proof import Proof
from flashstock.ledger.queries import Queries
from flashstock.model.group_records import GroupRecord, group_id, unpack_group
from flashstock.model.group_rules import GROUP_SIZE_MAX
from flashstock.model.rules import TIME_MS_MAX
from flashstock.model.states import GroupState
from flashstock.reconcile.compare import REBUILD, Difference
from flashstock.reconcile.settling import Look, sorted_out

PAGE: Final = 50
"""Groups at a time: of the largest, so many have 50,000 seats."""
SEATS_PAGE: Final = 2_000
GROUPS_READ_AT_ONCE: Final = 10
"""Nobody else is served while a script reads them."""
_FIELDS: Final = ("state", "rules_text", "deadline_ms", "pending", "paid", "house", "opener", "seq")


@dataclass(frozen=True, slots=True)
class Seen:
    """A group and the digests of its live seats, as one of the stores has them."""

    record: GroupRecord
    members: frozenset[str]

    @property
    def over(self) -> bool:
        """It has ended, and nobody is in it."""
        return self.record.state is GroupState.FAILED and not self.members


def compare_group(group: str, ledger: Seen | None, store: Seen | None) -> Difference | None:
    """The difference of one group, if any. Both are read at the same log position.

    One that Redis has forgotten is fine once it is settled; so is one that is over in Redis and
    settled in SQL: a key that was used again opens a namesake, which SQL refuses.
    """
    pool = group.partition("~")[0]
    if store is None:
        if ledger is None or not _unsettled(ledger.record):
            return None
        return Difference("missing_group", pool, group, ledger.record.state, None, REBUILD)
    if ledger is None:
        return Difference("unrecorded_group", pool, group, None, store.record.state, REBUILD)
    if store.over and not _unsettled(ledger.record):
        return None
    for name in _FIELDS:
        wanted, found = getattr(ledger.record, name), getattr(store.record, name)
        if wanted != found:
            return Difference(f"group_{name}", pool, group, str(wanted), str(found), REBUILD)
    if ledger.members != store.members:
        wanted, found = sorted(ledger.members), sorted(store.members)
        return Difference("group_members", pool, group, wanted[:10], found[:10], REBUILD)
    return None


def _unsettled(record: GroupRecord) -> bool:
    failed = record.state is GroupState.FAILED
    return record.state is GroupState.OPEN or record.pending > 0 or (failed and record.paid > 0)


class GroupComparison:
    """Compares the groups of one data set, in bounded memory."""

    def __init__(
        self,
        store: HotStore,
        queries: Queries,
        proof: Proof,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._queries = queries
        self._proof = proof
        self._sleep = sleep

    async def differences(self, shard: int) -> tuple[int, list[Difference]]:
        """How many groups there were to compare in a shard, and what differs."""
        checked, found, after = 0, dict[str, Difference](), ""
        while ids := await self.unsettled(shard, after, PAGE):
            checked += len(ids)
            found |= _by_subject((await self.look_at(shard, ids))[0])
            after = ids[-1]
        position = 0
        while True:
            position, ids = await self._scan(shard, position)
            checked += len(ids)
            for start in range(0, len(ids), PAGE):
                found |= _by_subject((await self.look_at(shard, ids[start : start + PAGE]))[0])
            if position == 0:
                return checked, [*found.values()]

    async def unsettled(self, shard: int, after: str, limit: int) -> list[str]:
        """A page of the groups that Redis must know."""
        rows = await self._queries.retained_groups(shard, after, limit, TIME_MS_MAX)
        return [row.id for row in rows]

    async def look_at(
        self, shard: int, ids: Sequence[str]
    ) -> tuple[list[Difference], list[Difference]]:
        """What is wrong with these groups: (certainly, perhaps only on its way to SQL)."""
        store, seq = await self._in_store(ids)
        first = Look(store, seq, _differing(await self._in_ledger(ids), store, ids))

        async def look_again(subjects: list[str]) -> Look:
            ledger = await self._in_ledger(subjects)
            again, seq = await self._in_store(subjects)
            return Look(again, seq, _differing(ledger, again, subjects))

        return await sorted_out(
            first, look_again, lambda: self._proof.cursor_seq(shard), self._sleep
        )

    async def _scan(self, shard: int, position: int) -> tuple[int, list[str]]:
        client, key = self._store.clients[shard], keys.groups(shard)
        with translated_failures():
            answer: Any = await client.hscan(key, position, count=PAGE)
        packed = ((digest.decode(), text.decode()) for digest, text in answer[1].items())
        return answer[0], [f"{unpack_group(text).pool}~{digest}" for digest, text in packed]

    async def _in_store(self, ids: Sequence[str]) -> tuple[dict[str, Seen], int]:
        """Those that Redis knows, and the seq of the last look."""
        found: dict[str, Seen] = {}
        by_pool: dict[str, list[str]] = defaultdict(list)
        for group in ids:
            pool, _, digest = group.partition("~")
            by_pool[pool].append(digest)
        seq = 0
        for pool, digests in by_pool.items():
            for start in range(0, len(digests), GROUPS_READ_AT_ONCE):
                some = digests[start : start + GROUPS_READ_AT_ONCE]
                reply = await self._store.read_groups(pool, some, GROUP_SIZE_MAX)
                seq = max(seq, reply.seq)
                for digest, seen in zip(some, reply.groups, strict=True):
                    if seen is not None:
                        members = frozenset(seat for seat, _ in seen.seats)
                        found[f"{pool}~{digest}"] = Seen(seen.record, members)
        return found, seq

    async def _in_ledger(self, ids: Sequence[str]) -> dict[str, Seen]:
        rows = await self._queries.groups_by_ids(ids)
        members = await self._members(rows)
        return {row.id: Seen(row.record(), frozenset(members[row.id])) for row in rows}

    async def _members(self, rows: Sequence[StoredGroup]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        digests, after = [row.digest for row in rows], ("", "")
        while seats := await self._queries.live_seats(digests, after, SEATS_PAGE):
            for seat in seats:
                found[group_id(seat.pool, seat.cart)].add(seat.id.rpartition("~")[2])
            after = (seats[-1].cart, seats[-1].id)
        return found


def _by_subject(differences: Iterable[Difference]) -> dict[str, Difference]:
    return {difference.subject: difference for difference in differences}


def _differing(
    ledger: Mapping[str, Seen], store: Mapping[str, Seen], ids: Iterable[str]
) -> list[Difference]:
    compared = (compare_group(group, ledger.get(group), store.get(group)) for group in ids)
    return [difference for difference in compared if difference is not None]
