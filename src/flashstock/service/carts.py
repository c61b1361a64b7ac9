"""Carts: several pools for one buyer, all or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flashstock import errors
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.replies import CartLine, CartReply
from flashstock.hotpath.scripts import Verdict
from flashstock.hotpath.store import HotStore
from flashstock.model.eligibility import Attests
from flashstock.model.ids import ReservationId, digest_of
from flashstock.model.states import ReservationState
from flashstock.service.eligibility import not_eligible
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
    Verdict.NOT_ELIGIBLE: errors.NotEligible,
    Verdict.GROUP_ONLY: errors.GroupOnly,
    Verdict.GROUP_UNKNOWN: errors.UnknownGroup,
    Verdict.GROUP_FULL: errors.GroupFull,
    Verdict.GROUP_OVER: errors.GroupOver,
    Verdict.SEATS_LIMIT: errors.SeatsLimit,
    Verdict.GROUPS_LIMIT: errors.GroupsLimit,
    Verdict.OPEN_LIMIT: errors.OpenLimit,
}
"""Every verdict that is a refusal, and the error a caller sees."""


_HELD: Final = "held"
_REFUSED: Final = "refused"
_LET_GO: Final = (
    ReservationState.CANCELLED,
    ReservationState.EXPIRED,
    ReservationState.REVOKED,
)


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

    Within a shard a cart is decided in one atomic step. A cart that spans shards is taken shard by
    shard; how it comes out is then fixed in its first shard, once, whoever comes first: a request,
    its repetition, or both at once. Where it is refused, whatever was taken is given back, and
    every repetition is refused too, for the lines that were given back can't be held again.
    """

    def __init__(
        self, store: HotStore, applied: AppliedTracker, reservations: ReservationService
    ) -> None:
        self._store = store
        self._applied = applied
        self._reservations = reservations

    async def reserve(
        self,
        caller: str,
        idempotency_key: str,
        buyer: str,
        lines: Sequence[tuple[str, int]],
        attests: Attests | None = None,
    ) -> CartAnswer:
        """Hold every line ``(pool, quantity)`` or none; the same pool twice is added up first.

        Args:
            attests: of the buyer; no part of what a repetition is recognised by.

        Raises:
            Refused: of the first line that was refused; ``extra["lines"]`` has all of them.
            AlreadyCancelled: it spans shards, was refused, and was given back: take a new key.
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
        packed = attests.packed() if attests else ""
        for shard, shard_lines in sorted(shards.items()):
            asked = [(line.pool, line.digest, line.quantity) for line in shard_lines]
            replies[shard] = await self._store.reserve_cart(shard, cart, buyer, asked, packed)
            if not replies[shard].held:
                refusal = _refusal(shard_lines, replies[shard], attests or Attests())
                if len(replies) > 1:
                    await self._refuse(cart, shards, replies)
                raise refusal
        if len(shards) > 1:
            await self._fix(cart, shards, replies)
        try:
            await self._committed(shards, replies)
        except errors.NotRecorded:
            await self._give_back(shards, replies)
            raise
        return self._answer(cart_id, buyer, shards, replies, list(wanted))

    async def _fix(
        self, cart: str, shards: dict[int, list[_Line]], replies: dict[int, CartReply]
    ) -> None:
        """Fix that the cart is held. ``AlreadyCancelled``: it is not, and nothing of it stays."""
        if any(_has_ended(decided, reply) for reply in replies.values() for decided in reply.lines):
            # Held as a whole once, or never: then what is still there must go as well.
            if not await self._decide(cart, replies, _REFUSED):
                return
        elif await self._decide(cart, replies, _HELD):
            return
        await self._give_back(shards, replies)
        raise errors.AlreadyCancelled("the cart was refused and given back; take a new key")

    async def _refuse(
        self, cart: str, shards: dict[int, list[_Line]], replies: dict[int, CartReply]
    ) -> None:
        """Fix that the cart is refused, and give back what there is of it.

        Raises:
            Unavailable: a request with the same key has just held the whole cart.
        """
        if not await self._decide(cart, replies, _REFUSED):
            raise errors.Unavailable("the same cart is being held by another request")
        await self._give_back(shards, replies)

    async def _decide(self, cart: str, replies: dict[int, CartReply], verdict: str) -> bool:
        first = min(replies)
        generation, stands = await self._store.decide_cart(first, cart, verdict)
        if generation != replies[first].generation:
            # An earlier verdict may be lost with the data set that the lines were taken in.
            raise errors.Recovering
        return stands

    async def _committed(
        self, shards: dict[int, list[_Line]], replies: dict[int, CartReply]
    ) -> None:
        """Wait until every line is in SQL. Raises ``NotRecorded`` where SQL refused one."""
        for shard, reply in replies.items():
            await self._applied.wait(shard, reply.generation, reply.seq)
        for shard, reply in replies.items():
            for line, decided in zip(shards[shard], reply.lines, strict=True):
                if decided.record is not None:
                    target = str(ReservationId(line.pool, line.digest))
                    await self._applied.check_known(shard, target, decided.record)

    async def _give_back(
        self, shards: dict[int, list[_Line]], replies: dict[int, CartReply]
    ) -> None:
        """Let go of every line that is held, whichever request took it.

        What can't be given back now expires by itself, or goes with the next repetition.
        """
        for shard, reply in replies.items():
            if reply.held:
                for line in shards[shard]:
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


def _has_ended(decided: CartLine, reply: CartReply) -> bool:
    """A line that was taken before and is not the buyer's any more, paid ones apart."""
    record = decided.record
    if record is None or decided.verdict is not Verdict.REPLAYED:
        return False
    overdue = record.state is ReservationState.HELD and record.deadline_ms <= reply.now_ms
    return overdue or record.state in _LET_GO


def _refusal(lines: list[_Line], reply: CartReply, attests: Attests) -> errors.FlashstockError:
    refusals = [
        _line_refusal(line, decided, attests)
        for line, decided in zip(lines, reply.lines, strict=True)
        if decided.verdict in VERDICT_REFUSALS
    ]
    refused = [{**refusal.extra, "code": refusal.code} for refusal in refusals]
    return type(refusals[0])(refusals[0].detail, lines=refused)


def _line_refusal(line: _Line, decided: CartLine, attests: Attests) -> errors.FlashstockError:
    if decided.verdict is Verdict.NOT_ELIGIBLE:
        rules = decided.audience, decided.channels
        return not_eligible(line.pool, decided.available, *rules, attests)
    return VERDICT_REFUSALS[decided.verdict](pool=line.pool, available=decided.available)
