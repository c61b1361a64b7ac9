"""What a caller may send about orders: strict types, known names, bounds on everything."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flashstock.api.dispatch_routing import ORDER_NO_PATTERN
from flashstock.api.schemas import (
    NO_CONTROL_CHARACTERS,
    PAGE_LIMIT_DEFAULT,
    PAGE_LIMIT_MAX,
    Body,
    Buyer,
    NumberedPageRequest,
    PoolId,
    Quantity,
)
from flashstock.api.schemas_channels import ChannelId
from flashstock.api.schemas_stock import BookSku, LocationCode, Reason, Units
from flashstock.dispatch.orders import Filter, ReturnState, SaleState
from flashstock.dispatch.return_rows import Disposition
from flashstock.dispatch.shipping import ParcelWanted

PARCELS_MAX: Final = 50
LINES_MAX: Final = 250
MERGED_MAX: Final = 20
_ORDER_CURSOR: Final = r"^([0-9]{1,13}\.[0-9]{1,24})?$"
_ANY_OR_NOTHING: Final = NO_CONTROL_CHARACTERS.replace("+$", "*$")

OrderNo = Annotated[str, Field(pattern=ORDER_NO_PATTERN, examples=["40217756319"])]
Tracking = Annotated[str, Field(max_length=128, pattern=_ANY_OR_NOTHING, examples=["1Z999"])]
Carrier = Annotated[str, Field(max_length=64, pattern=_ANY_OR_NOTHING, examples=["post"])]
Region = Annotated[
    str, Field(min_length=1, max_length=64, pattern=NO_CONTROL_CHARACTERS, examples=["DE-BE"])
]


class PackedLineRequest(Body):
    sku: BookSku
    quantity: Units


class ParcelRequest(Body):
    """A parcel that is packed already."""

    location: LocationCode
    lines: Annotated[list[PackedLineRequest], Field(min_length=1, max_length=LINES_MAX)]
    tracking: Tracking = ""
    carrier: Carrier = ""

    def wanted(self) -> ParcelWanted:
        lines: dict[str, int] = {}
        for line in self.lines:
            lines[line.sku] = lines.get(line.sku, 0) + line.quantity
        return ParcelWanted(self.location, lines, self.tracking, self.carrier)


class ShipRequest(Body):
    """How to send an order. With nothing said, all that is left leaves from where it is best."""

    quantity: Quantity | None = Field(
        default=None, description="Units of the order; all that are left by default."
    )
    region: Region | None = Field(default=None, description="Where the buyer is.")
    location: LocationCode | None = Field(default=None, description="From there and nowhere else.")
    channel: ChannelId | None = Field(
        default=None,
        description="The shop it was sold in. Where that is mapped to locations, only from those.",
    )
    allow_split: bool = True
    tracking: Tracking = ""
    carrier: Carrier = ""
    parcels: Annotated[list[ParcelRequest], Field(min_length=1, max_length=PARCELS_MAX)] | None = (
        Field(default=None, description="Packed already: they hold exactly what is to be sent.")
    )
    merge: Annotated[list[OrderNo], Field(max_length=MERGED_MAX)] | None = Field(
        default=None, description="Further orders of the same buyer that go with it."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        chosen = (self.region, self.location, self.channel)
        if self.parcels is not None and any(part is not None for part in chosen):
            raise ValueError("parcels say where from: leave out region, location and channel")
        places = [parcel.location for parcel in self.parcels or ()]
        if len(set(places)) < len(places):
            raise ValueError("parcels: one a location")
        return self


class OrderReturnRequest(Body):
    """With a `location`: goods that had left come back. Without: units that never did."""

    quantity: Quantity | None = Field(
        default=None, description="Units of the order; all that can come back by default."
    )
    location: LocationCode | None = None
    disposition: Annotated[Disposition, Field(strict=False)] | None = Field(
        default=None,
        description="What becomes of goods: `available` (the default), `unsellable`, or `inspect`,"
        " which is unsellable until somebody has looked.",
    )
    reason: Reason = ""

    @model_validator(mode="after")
    def _only_goods_are_disposed_of(self) -> Self:
        if self.disposition is not None and self.location is None:
            raise ValueError("disposition is of goods that come back to a location")
        return self


class OrderPageRequest(BaseModel):
    """Which orders to list: those that have all of what is named."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, Field(pattern=_ORDER_CURSOR)] = Field(
        default="", description="`next_after` of the page before."
    )
    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT
    state: SaleState | None = None
    buyer: Buyer | None = None
    pool: PoolId | None = None

    def filter(self) -> Filter:
        """As the orders are asked."""
        paid_at_ms, _, order_no = self.after.partition(".")
        after = (int(paid_at_ms), order_no) if order_no else (-1, "")
        return Filter(self.state, self.buyer, self.pool, after, self.limit)


class MergeablePageRequest(BaseModel):
    """Which buyers to list."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, Field(max_length=128, pattern=_ANY_OR_NOTHING)] = Field(
        default="", description="The last buyer of the page before."
    )
    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT


class ReturnPageRequest(NumberedPageRequest):
    """Which returns to list."""

    state: ReturnState | None = None
