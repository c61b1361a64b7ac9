"""The shape of every answer about orders, for the OpenAPI document."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from flashstock.api.documents import Time, Units
from flashstock.dispatch.orders import ReturnKind, ReturnState, SaleState


class OrderSummary(BaseModel):
    """An order, in units of it: `quantity` is what was paid for."""

    order_no: str = Field(examples=["40217756319"])
    state: SaleState
    reservation: str
    pool: str
    buyer: str
    payment_ref: str
    quantity: int = Field(ge=1)
    to_ship: Units
    shipped: Units = Field(description="What ever left.")
    returned: Units = Field(description="What of that came back.")
    given_up: Units = Field(description="What was given back before it left.")
    paid_at: Time
    shipped_at: Time | None
    completed_at: Time | None
    audited_at: Time | None
    audited_by: str | None


class OrderPage(BaseModel):
    items: list[OrderSummary]
    next_after: str | None


class OrderLineDocument(BaseModel):
    """How much of a SKU the order takes, and how much of it has left."""

    sku: str
    title: str
    quantity: Units
    shipped: Units


class ParcelLineDocument(BaseModel):
    sku: str
    quantity: int = Field(ge=1)


class ParcelDocument(BaseModel):
    """What of the order left in one parcel; other orders may be in it, too."""

    number: int = Field(ge=1)
    location: str
    carrier: str
    tracking: str
    shipped_at: Time
    shipped_by: str
    lines: list[ParcelLineDocument]


class ReturnDocument(BaseModel):
    """Units that come back. `pending`: it is on record and will be finished by itself."""

    number: int = Field(ge=1)
    order_no: str
    state: ReturnState
    kind: ReturnKind
    quantity: int = Field(ge=1)
    location: str | None
    disposition: Literal["available", "unsellable", "inspect"] | None
    reason: str
    problem: str
    through_pool: bool = Field(
        description="`false`: the pool did not know the sale any more; for it, it stays sold."
    )
    actor: str
    created_at: Time
    updated_at: Time


class ReturnPage(BaseModel):
    items: list[ReturnDocument]
    next_after: int | None


class SnapshotDocument(BaseModel):
    """What was bought, as the campaign's revision said when it was paid for."""

    campaign: str
    revision: int
    title: str
    price_minor: Units
    currency: str
    balance_due_minor: Units = Field(
        description="What the second payment of a presale has to bring; without it nothing is sent."
    )


class OrderDocument(OrderSummary):
    """An order with all that became of it. `gifts`: the orders by which its gifts were taken."""

    snapshot: SnapshotDocument | None
    lines: list[OrderLineDocument]
    parcels: list[ParcelDocument]
    returns: list[ReturnDocument]
    gifts: list[str]


class MergeableDocument(BaseModel):
    """Orders of one buyer that may be sent together: paid, unsent, not audited."""

    buyer: str
    orders: list[OrderSummary]


class MergeablePage(BaseModel):
    items: list[MergeableDocument]
    next_after: str | None
