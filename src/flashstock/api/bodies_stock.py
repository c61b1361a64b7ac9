"""What the service answers about the stock book, as plain values that ``orjson`` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flashstock.api.bodies import format_time
from flashstock.model.stock import ON_HAND
from flashstock.stockbook.catalogue import Location, Sku
from flashstock.stockbook.identity import IdentityReport
from flashstock.stockbook.lots import Lot
from flashstock.stockbook.purchases import Purchase
from flashstock.stockbook.stocktakes import Stocktake
from flashstock.stockbook.stored import Balance, PoolUnits, StockOfSku, StoredMovement
from flashstock.stockbook.transfers import Transfer


def _dated(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields with times as text: ``created_at_ms`` becomes ``created_at``; 0 is null."""
    return {
        name.removesuffix("_ms"): (format_time(value) if value else None)
        if name.endswith("_ms")
        else value
        for name, value in fields.items()
    }


def sku_body(sku: Sku) -> dict[str, Any]:
    return {**_dated(asdict(sku)), "currency": sku.currency or None}


def location_body(location: Location) -> dict[str, Any]:
    return _dated(asdict(location))


def movement_body(movement: StoredMovement) -> dict[str, Any]:
    return {
        "number": movement.number,
        "kind": movement.kind.value,
        "lines": [asdict(line) for line in movement.lines],
        "reason": movement.reason,
        "reference": movement.reference,
        "actor": movement.actor,
        "at": format_time(movement.at_ms),
        "reverses": movement.reverses,
        "reversed_by": movement.reversed_by,
    }


def balance_body(balance: Balance) -> dict[str, Any]:
    return {"sku": balance.sku, **_at_location(balance)}


def stock_body(stock: StockOfSku) -> dict[str, Any]:
    """Everything of one SKU."""
    return {
        "sku": stock.sku,
        "safety_stock": stock.safety_stock,
        "below_safety_stock": stock.company["available"] < stock.safety_stock,
        "company": {**stock.company, "owned": _owned(stock.company)},
        "locations": [_at_location(balance) for balance in stock.locations],
        "pools": [_pool_body(pool) for pool in stock.pools],
    }


def _owned(units: Mapping[str, int]) -> int:
    return units[ON_HAND] + units["in_transit"]


def _at_location(balance: Balance) -> dict[str, Any]:
    return {
        "location": balance.location,
        **balance.units,
        "virtual_allowance": balance.virtual_allowance,
        "changed_by_movement": balance.changed_seq,
    }


def _pool_body(pool: PoolUnits) -> dict[str, Any]:
    total = pool.total or 0
    available = max(0, total - pool.held - pool.sold - pool.locked)
    return {
        "pool": pool.pool,
        "per_unit": pool.per_unit,
        "campaign": pool.quantity,
        "shipped": pool.shipped,
        "held": pool.held * pool.per_unit,
        "sold": pool.sold * pool.per_unit,
        "available": available * pool.per_unit,
        "locked": pool.locked * pool.per_unit,
    }


def purchase_body(purchase: Purchase) -> dict[str, Any]:
    lines = [{**asdict(line), "expected": line.expected} for line in purchase.lines]
    return {**_dated(asdict(purchase)), "lines": lines}


def transfer_body(transfer: Transfer) -> dict[str, Any]:
    lines = [
        {**asdict(line), "outgoing": line.outgoing, "in_transit": line.in_transit}
        for line in transfer.lines
    ]
    return {**_dated(asdict(transfer)), "lines": lines}


def stocktake_body(stocktake: Stocktake) -> dict[str, Any]:
    fields = _dated(asdict(stocktake))
    del fields["counted_seq"]
    counts = [{**asdict(count), "difference": count.difference} for count in stocktake.counts]
    return {**fields, "counts": counts, "decided_by": stocktake.decided_by or None}


def lot_body(lot: Lot, now_ms: int) -> dict[str, Any]:
    fields = _dated(asdict(lot))
    del fields["release_command"]
    return {**fields, "over": lot.guaranteed_until_ms <= now_ms}


def identity_body(report: IdentityReport) -> dict[str, Any]:
    """What the proof found."""
    return {
        "at": format_time(report.at_ms),
        "ok": report.ok,
        "deep": report.deep,
        "invariants": dict(report.invariants),
        "company": {
            **report.company,
            "owned": _owned(report.company),
            "from_outside": report.from_outside,
            "to_outside": report.to_outside,
            "ok": _owned(report.company) == report.from_outside - report.to_outside,
        },
        "locations": [
            {
                "location": one.location,
                **one.units,
                "expected_available": one.expected_available,
                "ok": one.units["available"] == one.expected_available,
            }
            for one in report.locations
        ],
        "in_flight": [
            {
                "id": flight.command.id,
                "pool": flight.command.pool,
                "kind": flight.command.kind.value,
                "units_in": flight.units_in,
                "units_out": flight.units_out,
                "problem": flight.command.problem,
            }
            for flight in report.in_flight
        ],
        "differences_count": report.differences_count,
        "differences": [asdict(difference) for difference in report.differences],
    }


def page_body(items: Sequence[Any], next_after: Any) -> dict[str, Any]:
    """One page; ``next_after`` is null on the last."""
    return {"items": items, "next_after": next_after}
