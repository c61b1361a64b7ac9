"""What the service answers about shops, as plain values that ``orjson`` writes."""

from __future__ import annotations

from typing import Any

from flashstock.api.bodies import format_time
from flashstock.channels.outside_orders import OutsideOrder
from flashstock.channels.publication import PublicationPage
from flashstock.channels.registry import Channel, StateMap
from flashstock.channels.shares import Policy


def channel_body(channel: Channel) -> dict[str, Any]:
    return {
        "id": channel.id,
        "name": channel.name,
        "mode": channel.mode.value,
        "weight": channel.weight,
        "priority": channel.priority,
        "locations": list(channel.locations),
        "created_at": format_time(channel.created_at_ms),
        "updated_at": format_time(channel.updated_at_ms),
    }


def policy_body(sku: str | None, policy: Policy) -> dict[str, Any]:
    return {
        "sku": sku,
        "mode": policy.mode.value if policy.mode is not None else None,
        "low_water": policy.low_water,
        "low_water_channel": policy.low_water_channel,
        "weights": dict(policy.weights),
    }


def publication_body(page: PublicationPage) -> dict[str, Any]:
    items = [{"sku": item.sku, "quantity": item.quantity} for item in page.items]
    return {"items": items, "cursor": page.cursor, "more": page.more}


def states_body(found: StateMap) -> dict[str, Any]:
    states = {word: state.value for word, state in found.states.items()}
    return {"channel": found.channel, "states": states}


def outside_order_body(order: OutsideOrder) -> dict[str, Any]:
    return {
        "channel": order.channel,
        "foreign_no": order.foreign_no,
        "foreign_state": order.foreign_state,
        "state": order.state.value,
        "stock": order.stock.value,
        "lines": [
            {"sku": line.sku, "quantity": line.quantity, "location": line.location or None}
            for line in order.lines
        ],
        "created_at": format_time(order.created_at_ms),
        "updated_at": format_time(order.updated_at_ms),
    }
