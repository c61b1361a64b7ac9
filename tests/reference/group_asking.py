"""Short forms of what tests ask of a store about groups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from flashstock.hotpath.group_calls import MATCH, OPEN, join
from flashstock.hotpath.group_replies import GroupAndSeats, SeatsReply
from flashstock.hotpath.scripts import Verdict
from flashstock.hotpath.store import HotStore
from flashstock.model.group_records import GroupRecord
from flashstock.model.group_rules import GroupRules
from flashstock.model.records import ReservationRecord
from tests.reference.asking import HOLD_MS, create, key
from tests.reference.group_store import ReferenceGroupStore
from tests.reference.group_subjects import GroupsInMemory
from tests.reference.subjects import START_MS

GroupStore = HotStore | ReferenceGroupStore
LIFE_MS = 10 * HOLD_MS
DEADLINE_MS = START_MS + LIFE_MS
RULES = GroupRules(3, LIFE_MS)

Request = tuple[int, str, str | int]
"""Number of the key, buyer, and what is wanted: ``OPEN``, ``MATCH``, or the number of the key that
opened the group to join.
"""
__all__ = ["MATCH", "OPEN"]


@asynccontextmanager
async def groups_in_memory() -> AsyncIterator[GroupsInMemory]:
    subject = GroupsInMemory()
    await subject.set_clock(START_MS)
    yield subject


async def sell_to_groups(
    store: GroupStore, pool: str = "p", total: int = 10, *, pool_rules: Any = None, **rules: Any
) -> None:
    """A new pool whose groups have three seats and live for ``LIFE_MS``, unless ``rules`` say."""
    text = replace(RULES, **rules).text
    await create(store, pool, total=total, group_buy=text, **(pool_rules or {}))


async def take(
    store: GroupStore,
    *requests: Request,
    pool: str = "p",
    units: int = 1,
    attests: list[str] | None = None,
) -> SeatsReply:
    return await store.take_seats(
        pool,
        units * len(requests),
        [key(number) for number, _, _ in requests],
        [buyer for _, buyer, _ in requests],
        [str(units)] * len(requests),
        [join(key(wanted)) if isinstance(wanted, int) else wanted for *_, wanted in requests],
        attests,
    )


async def verdicts(store: GroupStore, *requests: Request, **more: Any) -> list[Verdict]:
    return [Verdict(code - 48) for code in (await take(store, *requests, **more)).verdicts]


async def seated(store: GroupStore, *requests: Request, **more: Any) -> SeatsReply:
    """Take seats that must be granted."""
    reply = await take(store, *requests, **more)
    assert set(reply.verdicts) == {ord("0")}
    return reply


async def group(store: GroupStore, number: int, pool: str = "p") -> GroupAndSeats:
    """The group that this key opened, with all its seats."""
    reply = await store.read_groups(pool, [key(number)], 1_000)
    found = reply.groups[0]
    assert found is not None
    return found


async def seat(store: GroupStore, number: int) -> ReservationRecord:
    """The reservation of this key, which there must be."""
    found = (await store.lookup(0, [key(number)])).records[0]
    assert found is not None
    return found


def told(reply: SeatsReply, number: int) -> GroupRecord:
    """The group that this key opened, as a reply that must tell of it does."""
    found = reply.group(key(number))
    assert found is not None
    return found
