"""What the service answers about orders, as plain values that ``orjson`` writes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flashstock.api.bodies import format_time
from flashstock.dispatch.order_book import OrderDetail
from flashstock.dispatch.orders import Mergeable, Sale
from flashstock.dispatch.return_rows import Return


def _time_or_none(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_time(time_ms)


def order_cursor(sale: Sale) -> str:
    """Where a list goes on behind an order."""
    return f"{sale.paid_at_ms}.{sale.order_no}"


def order_summary(sale: Sale) -> dict[str, Any]:
    return {
        "order_no": sale.order_no,
        "state": sale.state.value,
        "reservation": sale.reservation_id,
        "pool": sale.pool,
        "buyer": sale.buyer,
        "payment_ref": sale.payment_ref,
        "quantity": sale.quantity,
        "to_ship": sale.to_ship,
        "shipped": sale.shipped,
        "returned": sale.returned,
        "given_up": sale.given_up,
        "paid_at": format_time(sale.paid_at_ms),
        "shipped_at": _time_or_none(sale.shipped_at_ms),
        "completed_at": _time_or_none(sale.completed_at_ms),
        "audited_at": _time_or_none(sale.audited_at_ms),
        "audited_by": sale.audited_by,
    }


def return_body(returned: Return) -> dict[str, Any]:
    return {
        "number": returned.number,
        "order_no": returned.order_no,
        "state": returned.state.value,
        "kind": returned.kind.value,
        "quantity": returned.quantity,
        "location": returned.location or None,
        "disposition": returned.disposition or None,
        "reason": returned.reason,
        "problem": returned.problem,
        "through_pool": returned.through_pool,
        "actor": returned.actor,
        "created_at": format_time(returned.created_at_ms),
        "updated_at": format_time(returned.updated_at_ms),
    }


def order_body(detail: OrderDetail) -> dict[str, Any]:
    """An order with all that became of it."""
    return {
        **order_summary(detail.sale),
        "snapshot": asdict(detail.snapshot) if detail.snapshot is not None else None,
        "lines": [asdict(line) for line in detail.lines],
        "parcels": [
            {
                "number": parcel.number,
                "location": parcel.location,
                "carrier": parcel.carrier,
                "tracking": parcel.tracking,
                "shipped_at": format_time(parcel.shipped_at_ms),
                "shipped_by": parcel.shipped_by,
                "lines": [{"sku": sku, "quantity": units} for sku, units in parcel.lines],
            }
            for parcel in detail.parcels
        ],
        "returns": [return_body(returned) for returned in detail.returns],
        "gifts": list(detail.gifts),
    }


def mergeable_body(group: Mergeable) -> dict[str, Any]:
    return {"buyer": group.buyer, "orders": [order_summary(sale) for sale in group.sales]}
