"""The shape of every answer about shops, for the OpenAPI document."""

from __future__ import annotations

from pydantic import BaseModel, Field

from flashstock.api.documents import Time, Units
from flashstock.channels.shares import ChannelMode
from flashstock.channels.states import OrderState, StockEffect


class ChannelDocument(BaseModel):
    """A shop. No `locations`: it sells from all of them."""

    id: str = Field(examples=["app"])
    name: str
    mode: ChannelMode
    weight: Units
    priority: Units
    locations: list[str]
    created_at: Time
    updated_at: Time


class ChannelPage(BaseModel):
    items: list[ChannelDocument]
    next_after: str | None


class PolicyDocument(BaseModel):
    """How numbers are published: of one SKU, or (`sku` is null) of all that have no own policy."""

    sku: str | None
    mode: ChannelMode | None
    low_water: Units
    low_water_channel: str | None
    weights: dict[str, int]


class PolicyPage(BaseModel):
    items: list[PolicyDocument]
    next_after: str | None


class DroppedPolicyDocument(BaseModel):
    sku: str
    dropped: bool = Field(description="`false`: it had no policy of its own.")


class PublishedDocument(BaseModel):
    sku: str
    quantity: Units


class PublicationDocument(BaseModel):
    """Of which SKUs something changed, and what the shop may show of them now."""

    items: list[PublishedDocument]
    cursor: str = Field(description="Where to go on, at once if there is `more`, or later.")
    more: bool


class SkuPublicationDocument(BaseModel):
    """What every shop may show of one SKU."""

    sku: str
    channels: dict[str, int]


class StatesDocument(BaseModel):
    """The shop's words, and ours. Our own words need no mapping."""

    channel: str
    states: dict[str, OrderState]


class OutsideLineDocument(BaseModel):
    sku: str
    quantity: int = Field(ge=1)
    location: str | None


class OutsideOrderDocument(BaseModel):
    """An order of a shop. `stock`: what it did to the stock book so far."""

    channel: str
    foreign_no: str
    foreign_state: str
    state: OrderState
    stock: StockEffect
    lines: list[OutsideLineDocument]
    created_at: Time
    updated_at: Time
