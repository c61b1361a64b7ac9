"""What the service answers about campaigns, as plain values that ``orjson`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flashstock.api.bodies import format_time, group_buy_body
from flashstock.campaigns.balances import Balance
from flashstock.campaigns.bundles import Bundle
from flashstock.campaigns.gifts import GiftState, GivenGift
from flashstock.campaigns.terms import Campaign, Item, Revision
from flashstock.campaigns.views import Shelf, ShownCampaign, ShownItem, Snapshot, Step
from flashstock.model.rules import Wave
from flashstock.stockbook.pool_flights import Flight


def _time_or_none(time_ms: int) -> str | None:
    return format_time(time_ms) if time_ms else None


def _waves(waves: Sequence[Wave]) -> list[dict[str, Any]]:
    return [{"at": format_time(wave.at_ms), "quantity": wave.quantity} for wave in waves]


def item_body(item: Item) -> dict[str, Any]:
    """What a revision says of an item."""
    return {
        "item": item.number,
        "sku": item.sku,
        "title": item.title,
        "quantity": item.quantity,
        "added": item.added,
        "price_minor": item.price_minor,
        "currency": item.currency or None,
        "presale": item.presale,
        "deposit_minor": item.deposit_minor,
        "waves": _waves(item.waves),
        "gifts": [asdict(gift) for gift in item.gifts],
        "group_buy": group_buy_body(item.group_buy),
    }


def revision_body(revision: Revision) -> dict[str, Any]:
    terms = revision.terms
    return {
        "revision": revision.number,
        "state": revision.state.value,
        "name": terms.name,
        "starts_at": format_time(terms.starts_at_ms),
        "ends_at": format_time(terms.ends_at_ms),
        "channels": list(terms.channels),
        "per_buyer_limit": terms.per_buyer_limit or None,
        "limit_across_items": terms.limit_across_items,
        "audience": terms.audience or None,
        "deduct": terms.deduct.value,
        "hold_seconds": terms.hold_ms // 1_000,
        "locations": list(terms.places),
        "items": [item_body(item) for item in terms.items],
        "created_by": revision.created_by,
        "created_at": format_time(revision.created_at_ms),
        "submitted_by": revision.submitted_by or None,
        "decided_by": revision.decided_by or None,
        "reason": revision.reason,
        "in_force_from": _time_or_none(revision.in_force_from_ms),
        "in_force_until": _time_or_none(revision.in_force_until_ms),
    }


def _shelf_body(shelf: Shelf) -> dict[str, Any]:
    counters = dict(shelf.counters) if shelf.counters is not None else None
    return {
        "pool": shelf.pool,
        "counters": counters,
        "left": counters["available"] + counters["locked"] if counters else 0,
        "in_flight": list(shelf.flying),
        "locations": [
            {"sku": sku, "location": location, "quantity": quantity}
            for sku, location, quantity in shelf.places
        ],
    }


def _sold_item_body(shown: ShownItem) -> dict[str, Any]:
    return {
        **_shelf_body(shown.shelf),
        "item": shown.item.number,
        "sku": shown.item.sku,
        "gifts": [_shelf_body(shelf) for shelf in shown.gifts],
    }


def campaign_body(shown: ShownCampaign) -> dict[str, Any]:
    """A campaign with its newest revision, the one in force, and its pools."""
    campaign = shown.campaign
    return {
        "code": campaign.code,
        "state": shown.state.value,
        "status": campaign.status.value,
        "created_by": campaign.created_by,
        "created_at": format_time(campaign.created_at_ms),
        "updated_at": format_time(campaign.updated_at_ms),
        "latest": revision_body(shown.latest),
        "in_force": revision_body(shown.live) if shown.live else None,
        "items": [_sold_item_body(item) for item in shown.items],
    }


def campaign_line_body(shown: ShownCampaign) -> dict[str, Any]:
    """A campaign in a list."""
    campaign: Campaign = shown.campaign
    terms = (shown.live or shown.latest).terms
    return {
        "code": campaign.code,
        "state": shown.state.value,
        "status": campaign.status.value,
        "name": terms.name,
        "starts_at": format_time(terms.starts_at_ms),
        "ends_at": format_time(terms.ends_at_ms),
        "latest_revision": campaign.latest_revision,
        "revision_in_force": campaign.live_revision or None,
    }


def public_body(shown: ShownCampaign, now_ms: int) -> dict[str, Any]:
    """What a page needs of a campaign that was approved."""
    assert shown.live is not None, "nothing of it was ever approved"
    terms = shown.live.terms
    return {
        "code": shown.campaign.code,
        "state": shown.state.value,
        "name": terms.name,
        "now": format_time(now_ms),
        "starts_at": format_time(terms.starts_at_ms),
        "ends_at": format_time(terms.ends_at_ms),
        "channels": list(terms.channels),
        "audience": terms.audience or None,
        "per_buyer_limit": terms.per_buyer_limit or None,
        "items": [
            {
                "item": one.item.number,
                "pool": one.shelf.pool,
                "sku": one.item.sku,
                "title": one.item.title,
                "price_minor": one.item.price_minor,
                "currency": one.item.currency or None,
                "presale": one.item.presale,
                "deposit_minor": one.item.deposit_minor,
                "available": (one.shelf.counters or {}).get("available", 0),
                "waves": _waves([wave for wave in one.item.waves if wave.at_ms > now_ms]),
                "group_buy": group_buy_body(one.item.group_buy),
            }
            for one in shown.items
        ],
    }


def step_body(step: Step) -> dict[str, Any]:
    return {
        "number": step.number,
        "revision": step.revision,
        "action": step.action,
        "detail": step.detail,
        "actor": step.actor,
        "at": format_time(step.at_ms),
    }


def snapshot_body(snapshot: Snapshot) -> dict[str, Any]:
    return {
        **item_body(snapshot.item),
        "campaign": snapshot.code,
        "revision": snapshot.revision,
        "pool": snapshot.pool,
        "since": format_time(snapshot.from_ms),
        "until": _time_or_none(snapshot.until_ms),
    }


def bundle_body(bundle: Bundle) -> dict[str, Any]:
    return {
        "sku": bundle.sku,
        "components": [{"sku": sku, "quantity": n} for sku, n in sorted(bundle.components.items())],
        "created_at": format_time(bundle.created_at_ms),
    }


def gift_body(gift: GivenGift) -> dict[str, Any]:
    return {
        "order_no": gift.order_no,
        "item": gift.item,
        "state": gift.state.value,
        "tier": gift.tier,
        "sku": None if gift.state is GiftState.NONE else gift.sku,
        "gift_order_no": gift.gift_order_no,
        "decided_at": format_time(gift.decided_at_ms),
    }


def balance_paid_body(balance: Balance) -> dict[str, Any]:
    return {
        "order_no": balance.order_no,
        "payment_ref": balance.payment_ref,
        "amount_minor": balance.amount_minor,
        "currency": balance.currency or None,
        "recorded_by": balance.recorded_by,
        "paid_at": format_time(balance.paid_at_ms),
    }


def flight_body(flight: Flight) -> dict[str, Any]:
    command = flight.command
    return {
        "id": command.id,
        "pool": command.pool,
        "kind": command.kind.value,
        "quantity": command.quantity,
        "units_in": flight.units_in,
        "units_out": flight.units_out,
        "taken": command.taken,
        "blocked": command.blocked,
        "problem": command.problem,
        "actor": command.actor,
        "created_at": format_time(command.created_at_ms),
        "updated_at": format_time(command.updated_at_ms),
    }
