"""The one set of order states that the words of many shops are mapped to; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class OrderState(StrEnum):
    """What state an order is in; one thing, one state."""

    PENDING_PAYMENT = "pending_payment"
    PAID = "paid"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    CLOSED = "closed"
    REFUNDING = "refunding"


class StockEffect(StrEnum):
    """What an order of a shop did to the stock book so far."""

    NONE = "none"
    COMMITTED = "committed"
    """Its units are taken, and still here."""
    GONE = "gone"
    """Its units have left."""
    RELEASED = "released"
    """Its units were taken, and were given back."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an order of a shop is."""

    state: OrderState
    stock: StockEffect


_ROAD: Final = (
    OrderState.PENDING_PAYMENT,
    OrderState.PAID,
    OrderState.SHIPPED,
    OrderState.COMPLETED,
)
_LEAST: Final = {StockEffect.COMMITTED: OrderState.PAID, StockEffect.GONE: OrderState.SHIPPED}


def progress(before: Progress | None, told: OrderState) -> Progress:
    """Where an order stands once its shop has said ``told``.

    Messages of shops overtake each other, so what is older than what is known changes nothing: an
    order never goes back on its road, and a closed one stays closed. Only an order that is being
    refunded returns to the road where the refund came to nothing. Unpaid orders and refunds that
    are still open do not concern the stock.
    """
    if before is None:
        return Progress(told, _effect(StockEffect.NONE, told))
    if before.state is OrderState.CLOSED or _is_older(before, told):
        return before
    return Progress(told, _effect(before.stock, told))


def _is_older(before: Progress, told: OrderState) -> bool:
    if told not in _ROAD:
        return False
    reached = before.state
    if reached not in _ROAD:
        reached = _LEAST.get(before.stock, OrderState.PAID)
        return _ROAD.index(told) < _ROAD.index(reached)
    return _ROAD.index(told) <= _ROAD.index(reached)


def _effect(stock: StockEffect, told: OrderState) -> StockEffect:
    if told is OrderState.PAID and stock is StockEffect.NONE:
        return StockEffect.COMMITTED
    if told in (OrderState.SHIPPED, OrderState.COMPLETED):
        return StockEffect.GONE
    if told is OrderState.CLOSED and stock is StockEffect.COMMITTED:
        return StockEffect.RELEASED
    return stock
