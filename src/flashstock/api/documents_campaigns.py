"""The shape of every answer about campaigns, for the OpenAPI document."""

from __future__ import annotations

from pydantic import BaseModel, Field

from flashstock.api.documents import GroupBuyDocument, Time, Units, WaveDocument
from flashstock.campaigns.gifts import GiftState
from flashstock.campaigns.terms import RevisionState, State, Status
from flashstock.model.states import DeductMode
from flashstock.stockbook.pool_commands import PoolCommandKind


class GiftTierDocument(BaseModel):
    sku: str
    quantity: Units
    tier: int = Field(ge=1)


class CampaignItemDocument(BaseModel):
    """`price_minor` is the final price; `added` came on top of `quantity` while it was live."""

    item: int = Field(ge=1)
    sku: str
    title: str
    quantity: Units
    added: Units
    price_minor: Units
    currency: str | None
    presale: bool
    deposit_minor: Units
    waves: list[WaveDocument]
    gifts: list[GiftTierDocument]
    group_buy: GroupBuyDocument | None


class RevisionDocument(BaseModel):
    """What one revision says, and what has become of it."""

    revision: int = Field(ge=1)
    state: RevisionState
    name: str
    starts_at: Time
    ends_at: Time
    channels: list[str]
    per_buyer_limit: int | None
    limit_across_items: bool
    audience: str | None
    deduct: DeductMode
    hold_seconds: int
    locations: list[str]
    items: list[CampaignItemDocument]
    created_by: str
    created_at: Time
    submitted_by: str | None
    decided_by: str | None
    reason: str
    in_force_from: Time | None
    in_force_until: Time | None


class ShelfCountersDocument(BaseModel):
    """A pool as SQL has it: `available + held + sold + locked == total`."""

    total: Units
    available: Units
    held: Units
    sold: Units
    locked: Units


class PlaceDocument(BaseModel):
    """Units that stand at a location for the pool."""

    sku: str
    location: str
    quantity: Units


class ShelfDocument(BaseModel):
    """A pool of the campaign. `in_flight` has the commands that are under way for it."""

    pool: str
    counters: ShelfCountersDocument | None = Field(description="Null while the pool is being made.")
    left: Units = Field(description="Units that can still be sold, those of waves included.")
    in_flight: list[str]
    locations: list[PlaceDocument]


class SoldItemDocument(ShelfDocument):
    """An item that is in force."""

    item: int = Field(ge=1)
    sku: str
    gifts: list[ShelfDocument]


class CampaignDocument(BaseModel):
    """A campaign. `state` is where it stands now, by what is written down and by the time."""

    code: str = Field(examples=["7KQ2M9XA"])
    state: State
    status: Status
    created_by: str
    created_at: Time
    updated_at: Time
    latest: RevisionDocument
    in_force: RevisionDocument | None
    items: list[SoldItemDocument]


class CampaignLineDocument(BaseModel):
    """A campaign in a list; dates and name are of what is in force, else of the newest revision."""

    code: str = Field(examples=["7KQ2M9XA"])
    state: State
    status: Status
    name: str
    starts_at: Time
    ends_at: Time
    latest_revision: int
    revision_in_force: int | None


class CampaignPage(BaseModel):
    items: list[CampaignLineDocument]
    next_after: str | None


class StepDocument(BaseModel):
    """Who did what, when."""

    number: int
    revision: int
    action: str = Field(examples=["approve"])
    detail: str
    actor: str
    at: Time


class StepPage(BaseModel):
    items: list[StepDocument]
    next_after: int | None


class SnapshotDocument(CampaignItemDocument):
    """What an item was from one moment to another; `until` is null while it still is."""

    campaign: str
    revision: int
    pool: str
    since: Time
    until: Time | None


class PublicItemDocument(BaseModel):
    """What a page shows of an item, and the pool that it is reserved from."""

    item: int = Field(ge=1)
    pool: str
    sku: str
    title: str
    price_minor: Units
    currency: str | None
    presale: bool
    deposit_minor: Units
    available: Units
    waves: list[WaveDocument] = Field(description="What is still withheld, and until when.")
    group_buy: GroupBuyDocument | None


class PublicCampaignDocument(BaseModel):
    """What a page needs; compare `now`, not the visitor's clock, with the times."""

    code: str
    state: State
    name: str
    now: Time
    starts_at: Time
    ends_at: Time
    channels: list[str]
    audience: str | None
    per_buyer_limit: int | None
    items: list[PublicItemDocument]


class ComponentDocument(BaseModel):
    sku: str
    quantity: Units


class BundleDocument(BaseModel):
    sku: str
    components: list[ComponentDocument]
    created_at: Time


class BundlePage(BaseModel):
    items: list[BundleDocument]
    next_after: str | None


class GivenGiftDocument(BaseModel):
    """What a paid order got with it; `sku` is null where none was left."""

    order_no: str
    item: int
    state: GiftState
    tier: int
    sku: str | None
    gift_order_no: str | None = Field(description="The order under which the gift is shipped.")
    decided_at: Time


class GivenGiftPage(BaseModel):
    items: list[GivenGiftDocument]
    next_after: str | None


class OrderBalanceDocument(BaseModel):
    """The second payment of a presale order."""

    order_no: str
    payment_ref: str
    amount_minor: int
    currency: str | None
    recorded_by: str
    paid_at: Time


class FlightDocument(BaseModel):
    """A command between the book and a pool, and the units that are in neither."""

    id: str
    pool: str
    kind: PoolCommandKind
    quantity: Units
    units_in: Units = Field(description="Have left the book, and not reached the pool.")
    units_out: Units = Field(description="Have left the pool, and not reached the book.")
    taken: Units
    blocked: bool = Field(description="It waits for a person; `problem` says why.")
    problem: str
    actor: str
    created_at: Time
    updated_at: Time


class FlightPage(BaseModel):
    items: list[FlightDocument]
    next_after: str | None
