"""Carts: several pools for one buyer, all or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flashstock import errors
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.replies import CartReply
from flashstock.hotpath.scripts import Verdict
from flashstock.hotpath.store import HotStore
from flashstock.model.ids import ReservationId, digest_of
from flashstock.service.reservations import ReservationService
from flashstock.service.views import ReservationView

VERDICT_REFUSALS: Final[dict[Verdict, type[errors.FlashstockError]]] = {
    Verdict.MISMATCH: errors.IdempotencyMismatch,
    Verdict.SOLD_OUT: errors.SoldOut,
    Verdict.BUYER_LIMIT: errors.BuyerLimit,
    Verdict.NOT_STARTED: errors.NotStarted,
    Verdict.ENDED: errors.Ended,
    Verdict.PAUSED: errors.Paused,
    Verdict.UNKNOWN_POOL: errors.UnknownPool,
}
"""Every verdict that is a refusal, and the error a caller sees."""


@dataclass(frozen=True, slots=True)
class CartAnswer:
    """A cart that is held: one reservation a pool."""

    id: str
    buyer: str
    reservations: tuple[ReservationView, ...]
    replayed: bool


@dataclass(frozen=True, slots=True)
class _Line:
    pool: str
    digest: str
    quantity: int


class CartService:
    """Holds carts.

    Within a shard a cart is decided in one atomic step. A cart that spans shards is decided shard
    by shard, and what was taken is given back as soon as one refuses.
    """

    def __init__(
        self, store: HotStore, applied: AppliedTracker, reservations: ReservationService
    ) -> None:
        self._store = store
        self._applied = applied
        self._reservations = reservations

    async def reserve(
        self, caller: str, idempotency_key: str, buyer: str, lines: Sequence[tuple[str, int]]
    ) -> CartAnswer:
        """Hold every line ``(pool, quantity)`` or none; the same pool twice is added up first.

        Raises:
            Refused: of the first line that was refused; ``extra["lines"]`` has all of them.
            IdempotencyMismatch: the key was used for another cart.
        """
        wanted: dict[str, int] = defaultdict(int)
        for pool, quantity in lines:
            wanted[pool] += quantity
        cart_id = digest_of("cart", caller, idempotency_key)
        payload = digest_of("cart payload", buyer, *(f"{p}={q}" for p, q in wanted.items()))
        cart = f"{cart_id}{payload[:8]}"
        shards: dict[int, list[_Line]] = defaultdict(list)
        for number, (pool, quantity) in enumerate(wanted.items()):
            line = _Line(pool, digest_of("cart line", cart_id, str(number)), quantity)
            shards[self._store.shard_of(pool)].append(line)

        replies: dict[int, CartReply] = {}
        for shard, shard_lines in sorted(shards.items()):
            asked = [(line.pool, line.digest, line.quantity) for line in shard_lines]
            replies[shard] = await self._store.reserve_cart(shard, cart, buyer, asked)
            if not replies[shard].held:
                await self._give_back(shards, replies)
                raise _refusal(shard_lines, replies[shard])
        for shard, reply in replies.items():
            await self._applied.wait(shard, reply.generation, reply.seq)
            for line, decided in zip(shards[shard], reply.lines, strict=True):
                if decided.record is not None:
                    target = str(ReservationId(line.pool, line.digest))
                    await self._applied.check_known(shard, target, decided.record)
        return self._answer(cart_id, buyer, shards, replies, list(wanted))

    async def _give_back(
        self, shards: dict[int, list[_Line]], replies: dict[int, CartReply]
    ) -> None:
        """Undo the shards that had agreed; what can't be undone now expires by itself."""
        for shard, reply in replies.items():
            for line, decided in zip(shards[shard], reply.lines, strict=True):
                if reply.held and decided.verdict is Verdict.HELD:
                    await self._store.cancel(ReservationId(line.pool, line.digest), "cancelled")

    def _answer(
        self,
        cart_id: str,
        buyer: str,
        shards: dict[int, list[_Line]],
        replies: dict[int, CartReply],
        order: list[str],
    ) -> CartAnswer:
        views: dict[str, ReservationView] = {}
        replayed = True
        for shard, reply in replies.items():
            for line, decided in zip(shards[shard], reply.lines, strict=True):
                if decided.record is None:
                    raise errors.Unavailable("the reservation store answered without a record")
                target = ReservationId(line.pool, line.digest)
                views[line.pool] = self._reservations.view(target, decided.record, reply.now_ms)
                replayed = replayed and decided.verdict is Verdict.REPLAYED
        return CartAnswer(cart_id, buyer, tuple(views[pool] for pool in order), replayed)


def _refusal(lines: list[_Line], reply: CartReply) -> errors.FlashstockError:
    refused = [
        {
            "pool": line.pool,
            "code": VERDICT_REFUSALS[decided.verdict].code,
            "available": decided.available,
        }
        for line, decided in zip(lines, reply.lines, strict=True)
        if decided.verdict in VERDICT_REFUSALS
    ]
    first = next(d.verdict for d in reply.lines if d.verdict in VERDICT_REFUSALS)
    return VERDICT_REFUSALS[first](lines=refused)
