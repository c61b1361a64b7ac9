"""What the service answers, as plain values that ``orjson`` writes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flashstock.errors import (
    BuyerLimit,
    FlashstockError,
    IdempotencyMismatch,
    NotEligible,
    NotStarted,
    SoldOut,
    UnknownPool,
)
from flashstock.hotpath.replies import BatchReply
from flashstock.hotpath.scripts import Verdict
from flashstock.model.eligibility import unpack_attests
from flashstock.model.group_rules import parse_group_rules
from flashstock.model.receipts import ReceiptSigner
from flashstock.model.rules import NO_DEADLINE_MS
from flashstock.service.carts import VERDICT_REFUSALS, CartAnswer
from flashstock.service.eligibility import not_eligible
from flashstock.service.views import PoolView, ReservationView


def format_time(time_ms: int) -> str:
    """RFC 3339, UTC, milliseconds: ``2026-11-22T03:00:00.123Z``."""
    seconds, milliseconds = divmod(time_ms, 1_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def _time_or_none(time_ms: int) -> str | None:
    """A rule's time; 0 means that there is no bound."""
    return format_time(time_ms) if time_ms else None


def deadline_or_none(deadline_ms: int) -> str | None:
    """When a hold expires; ``None`` for one that somebody has to end."""
    return None if deadline_ms == NO_DEADLINE_MS else format_time(deadline_ms)


def receipt_stamp(deadline_ms: int, generation: str | int, seq: int) -> str:
    """The part of a receipt that a whole batch shares."""
    return f"{deadline_ms}\t{generation}\t{seq}"


def reservation_body(view: ReservationView, signer: ReceiptSigner) -> dict[str, Any]:
    """One reservation. The same record gives the same body to the letter, receipt included."""
    record = view.record
    stamp = receipt_stamp(record.deadline_ms, record.generation, record.seq)
    body: dict[str, Any] = {
        "id": view.id,
        "pool": record.pool,
        "buyer": record.buyer,
        "quantity": record.quantity,
        "state": view.state.value,
        "expires_at": deadline_or_none(record.deadline_ms),
        "receipt": signer.sign(view.id, record.buyer, record.quantity, stamp),
    }
    if view.group:
        body["group"] = view.group
    if record.payment_ref:
        body["payment_ref"] = record.payment_ref
        body["order_no"] = view.order_no
        body["returned"] = record.returned
    return body


def pool_body(view: PoolView) -> dict[str, Any]:
    """A pool's rules and where its units are."""
    rules, counters = view.rules, view.counters
    return {
        "id": view.id,
        "sku": rules.sku,
        "state": rules.state.value,
        "total": counters.total,
        "available": counters.available,
        "held": counters.held,
        "sold": counters.sold,
        "locked": counters.locked,
        "per_buyer_limit": rules.per_buyer_limit or None,
        "hold_seconds": rules.hold_ms // 1_000,
        "starts_at": _time_or_none(rules.starts_at_ms),
        "ends_at": _time_or_none(rules.ends_at_ms),
        "durability": rules.durability.value,
        "waves": [
            {"at": format_time(wave.at_ms), "quantity": wave.quantity} for wave in rules.waves
        ],
        "audience": rules.audience or None,
        "channels": rules.channels.split(",") if rules.channels else [],
        "deduct": rules.deduct.value,
        "group_buy": group_buy_body(rules.group_buy),
    }


def group_buy_body(text: str) -> dict[str, Any] | None:
    """The rules of a group-buy, as they were asked for; ``None`` where there are none."""
    if not text:
        return None
    rules = parse_group_rules(text)
    return {
        "size": rules.size,
        "life_seconds": rules.life_ms // 1_000,
        "type": rules.type.value,
        "deduct": rules.deduct.value,
        "seats_per_buyer": rules.seats_per_buyer,
        "groups_per_buyer": rules.groups_per_buyer or None,
        "open_max": rules.open_max or None,
        "house_max": rules.house_max,
        "tiers": [tier._asdict() for tier in rules.tiers],
    }


def cart_body(answer: CartAnswer, signer: ReceiptSigner) -> dict[str, Any]:
    """A cart and its reservations, in the order its pools were asked for."""
    return {
        "id": answer.id,
        "buyer": answer.buyer,
        "reservations": [reservation_body(view, signer) for view in answer.reservations],
    }


def refusal_of(verdict: int, pool: str, batch: BatchReply, attests: str = "") -> FlashstockError:
    """What to tell the sender of an item that was refused: with what a shop's page needs.

    Args:
        verdict: any ``Verdict`` but HELD and REPLAYED.
        pool: the pool that was asked for.
        batch: the reply that the verdict came in.
        attests: what was attested of the item, packed.
    """
    kind = VERDICT_REFUSALS[Verdict(verdict)]
    if kind is SoldOut:
        detail = (
            f"{batch.available} units are left" if batch.available else "nothing is left right now"
        )
        wait_ms = batch.next_wave_ms - batch.now_ms if batch.next_wave_ms else None
        return SoldOut(detail, pool=pool, available=batch.available, retry_after_ms=wait_ms)
    if kind is BuyerLimit:
        limit = batch.per_buyer_limit
        detail = f"a buyer may hold and buy at most {limit} units of this pool"
        return BuyerLimit(detail, pool=pool, available=batch.available, per_buyer_limit=limit)
    if kind is NotStarted:
        return NotStarted(
            f"the sale starts at {format_time(batch.starts_at_ms)}",
            pool=pool,
            available=batch.available,
            starts_at=format_time(batch.starts_at_ms),
            retry_after_ms=max(0, batch.starts_at_ms - batch.now_ms),
        )
    if kind is NotEligible:
        found = unpack_attests(attests)
        return not_eligible(pool, batch.available, batch.audience, batch.channels, found)
    if kind is UnknownPool:
        return UnknownPool(f"there is no pool {pool!r}", pool=pool)
    if kind is IdempotencyMismatch:
        return IdempotencyMismatch(pool=pool)
    return kind(pool=pool, available=batch.available)
