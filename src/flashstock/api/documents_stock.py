"""The shape of every answer about the stock book, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from flashstock.api.documents import Time, Units
from flashstock.model.stock import MovementKind, StockState
from flashstock.stockbook.lots import LotState
from flashstock.stockbook.purchases import PurchaseState
from flashstock.stockbook.stocktakes import StocktakeState
from flashstock.stockbook.transfers import TransferState


class SkuDocument(BaseModel):
    sku: str = Field(examples=["85123A"])
    spu: str
    title: str
    price_minor: Units
    currency: str | None
    safety_stock: Units
    lead_time_days: Units
    created_at: Time
    updated_at: Time


class SkuPage(BaseModel):
    items: list[SkuDocument]
    next_after: str | None


class RegionDocument(BaseModel):
    region: str
    level: int = Field(ge=1)


class LocationDocument(BaseModel):
    code: str = Field(examples=["east"])
    name: str
    kind: Literal["warehouse", "store"]
    priority: int
    regions: list[RegionDocument]
    created_at: Time
    updated_at: Time


class LocationPage(BaseModel):
    items: list[LocationDocument]
    next_after: str | None


class MovementLineDocument(BaseModel):
    """Units that left `source` for `target`."""

    sku: str
    location: str
    source: StockState
    target: StockState
    quantity: int = Field(ge=1)


class MovementDocument(BaseModel):
    """A movement, for ever. `reverses` and `reversed_by` are the numbers of counter-movements."""

    number: int = Field(ge=1)
    kind: MovementKind
    lines: list[MovementLineDocument]
    reason: str
    reference: str
    actor: str
    at: Time
    reverses: int | None
    reversed_by: int | None


class MovementPage(BaseModel):
    items: list[MovementDocument]
    next_after: int | None


class StateUnits(BaseModel):
    """`on_hand + virtual` is the sum of all other states but `in_transit`."""

    on_hand: Units
    available: Units
    committed: Units
    unsellable: Units
    locked: Units
    campaign: Units
    outgoing: Units
    reserved: Units
    bought_out: Units
    virtual: Units
    in_transit: Units


class LocationStockDocument(StateUnits):
    """Where the units of a SKU at one location are."""

    location: str
    virtual_allowance: Units
    changed_by_movement: Units = Field(description="The last movement that changed it.")


class BalanceDocument(LocationStockDocument):
    sku: str


class BalancePage(BaseModel):
    items: list[BalanceDocument]
    next_after: str | None


class PoolStockDocument(BaseModel):
    """What a pool has of a SKU: `campaign` units are still there, `shipped` ones left as sales.

    `held`, `sold`, `available` and `locked` are what the pool says, in units of the SKU.
    """

    pool: str
    per_unit: int = Field(ge=1)
    campaign: Units
    shipped: Units
    held: Units
    sold: Units
    available: Units
    locked: Units


class CompanyStockDocument(StateUnits):
    owned: Units = Field(description="`on_hand + in_transit`.")


class SkuStockDocument(BaseModel):
    """Everything the book knows of a SKU, as of one moment."""

    sku: str
    safety_stock: Units
    below_safety_stock: bool
    company: CompanyStockDocument
    locations: list[LocationStockDocument]
    pools: list[PoolStockDocument]


class AvailabilityDocument(BaseModel):
    """What a shop may show."""

    sku: str
    available: Units
    sellable: bool


class DrawOrderDocument(BaseModel):
    states: list[StockState]


class PurchaseLineDocument(BaseModel):
    """`expected` units are still in transit."""

    sku: str
    quantity: Units
    received: Units
    damaged: Units
    cancelled: Units
    expected: Units


class PurchaseDocument(BaseModel):
    id: int = Field(ge=1)
    location: str
    supplier: str
    reference: str
    state: PurchaseState
    expected_at: Time | None
    lines: list[PurchaseLineDocument]
    created_by: str
    created_at: Time
    updated_at: Time


class PurchasePage(BaseModel):
    items: list[PurchaseDocument]
    next_after: int | None


class TransferLineDocument(BaseModel):
    """`outgoing` units still stand at the source, `in_transit` units are on their way."""

    sku: str
    quantity: Units
    dispatched: Units
    cancelled: Units
    received: Units
    damaged: Units
    lost: Units
    outgoing: Units
    in_transit: Units


class TransferDocument(BaseModel):
    id: int = Field(ge=1)
    source: str
    destination: str
    reference: str
    state: TransferState
    lines: list[TransferLineDocument]
    created_by: str
    created_at: Time
    updated_at: Time


class TransferPage(BaseModel):
    items: list[TransferDocument]
    next_after: int | None


class CountDocument(BaseModel):
    """`difference` is what was found more (or, negative, less) than the book had on hand."""

    sku: str
    expected: Units
    counted: Units
    difference: int


class StocktakeDocument(BaseModel):
    id: int = Field(ge=1)
    location: str
    reference: str
    state: StocktakeState
    counts: list[CountDocument]
    counted_by: str
    counted_at: Time
    decided_by: str | None
    decided_at: Time | None
    reason: str


class StocktakePage(BaseModel):
    items: list[StocktakeDocument]
    next_after: int | None


class LotDocument(BaseModel):
    id: int = Field(ge=1)
    sku: str
    location: str
    quantity: Units
    reference: str
    guaranteed_until: Time
    over: bool = Field(description="Whether its time is over.")
    state: LotState
    released: Units = Field(description="Units that left `available` when it was released.")
    created_by: str
    created_at: Time
    updated_at: Time


class LotPage(BaseModel):
    items: list[LotDocument]
    next_after: int | None


class LocationIdentityDocument(StateUnits):
    """A location's balances added up; `expected_available` is what the identity says."""

    location: str
    expected_available: int
    ok: bool


class CompanyIdentityDocument(StateUnits):
    """`owned` is `on_hand + in_transit`; it is `from_outside - to_outside`."""

    owned: int
    from_outside: Units
    to_outside: Units
    ok: bool


class InFlightDocument(BaseModel):
    """A command between the book and a pool."""

    id: str
    pool: str
    kind: str
    units_in: int = Field(description="Have left the book and not reached the pool.")
    units_out: int = Field(description="Have left the pool and not reached the book.")
    problem: str


class IdentityDifferenceDocument(BaseModel):
    invariant: str
    detail: dict[str, Any]


class IdentityDocument(BaseModel):
    """The identities of the stock book. `ok` says it all in one word."""

    at: Time
    ok: bool
    deep: bool
    invariants: dict[str, bool]
    company: CompanyIdentityDocument
    locations: list[LocationIdentityDocument]
    in_flight: list[InFlightDocument]
    differences_count: int
    differences: list[IdentityDifferenceDocument]
