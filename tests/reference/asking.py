"""Short forms of what tests ask of a store."""

from __future__ import annotations

from typing import Any

from flashstock.hotpath.replies import BatchReply, PoolSnapshot
from flashstock.hotpath.scripts import ConfigureStatus, Verdict
from flashstock.hotpath.store import HotStore
from flashstock.model.events import encode_rules
from flashstock.model.ids import ReservationId, digest_of
from flashstock.model.rules import PoolRules
from tests.reference.store import ReferenceStore

Store = HotStore | ReferenceStore
Request = tuple[int, str, int]
"""Number of the key, buyer, quantity."""

HOLD_MS = 60_000


def key(number: int) -> str:
    """The digest of the ``number``-th idempotency key."""
    return digest_of("key", str(number))


def target(pool: str, number: int) -> ReservationId:
    return ReservationId(pool, key(number))


async def create(
    store: Store, pool: str = "p", total: int = 10, locked: int = 0, **rules: Any
) -> PoolSnapshot:
    """A new pool, open, without a limit, with holds of ``HOLD_MS`` unless ``rules`` differ."""
    encoded = encode_rules(PoolRules(**{"sku": "sku", "hold_ms": HOLD_MS, **rules}))
    status, snapshot = await store.configure(pool, encoded, created=(total, locked))
    assert status is ConfigureStatus.CONFIGURED
    return snapshot


async def reserve(store: Store, pool: str, *requests: Request) -> BatchReply:
    return await store.reserve(
        pool,
        sum(quantity for _, _, quantity in requests),
        [key(number) for number, _, _ in requests],
        [buyer for _, buyer, _ in requests],
        [str(quantity) for _, _, quantity in requests],
    )


async def verdicts(store: Store, pool: str, *requests: Request) -> list[Verdict]:
    reply = await reserve(store, pool, *requests)
    return [Verdict(digit - ord("0")) for digit in reply.verdicts]


async def hold(store: Store, pool: str, *requests: Request) -> BatchReply:
    """Reserve what must be granted."""
    reply = await reserve(store, pool, *requests)
    assert set(reply.verdicts) == {ord("0")}
    return reply
