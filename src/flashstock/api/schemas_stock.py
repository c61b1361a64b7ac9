"""What a caller may send to the stock book: strict types, known names, bounds on everything."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from flashstock.api.schemas import (
    CURRENCY_PATTERN,
    NO_CONTROL_CHARACTERS,
    PAGE_LIMIT_DEFAULT,
    PAGE_LIMIT_MAX,
    Body,
    NumberedPageRequest,
    Time,
)
from flashstock.model.stock import (
    LOCATION_PATTERN,
    MOVEMENT_QUANTITY_MAX,
    REASON_LENGTH_MAX,
    REFERENCE_LENGTH_MAX,
    SKU_PATTERN,
    MovementKind,
    StockState,
)
from flashstock.stockbook.lots import LotState
from flashstock.stockbook.purchases import PurchaseState
from flashstock.stockbook.stocktakes import StocktakeState
from flashstock.stockbook.transfers import TransferState

LINES_MAX: Final = 250
"""Lines in one request, at most: each becomes up to four postings."""
TITLE_LENGTH_MAX: Final = 500
PRICE_MINOR_MAX: Final = 1_000_000_000_000
LEAD_TIME_DAYS_MAX: Final = 3_650
REGIONS_MAX: Final = 1_000
OVERSELL_RATIO_MAX: Final = 100
_NO_CONTROLS_OR_NOTHING: Final = NO_CONTROL_CHARACTERS.replace("+$", "*$")
_CELL_OR_NOTHING: Final = (
    f"^({SKU_PATTERN.strip('^$')}/{LOCATION_PATTERN.removeprefix('^').removesuffix('$')})?$"
)

BookSku = Annotated[str, Field(pattern=SKU_PATTERN, examples=["85123A"])]
LocationCode = Annotated[str, Field(pattern=LOCATION_PATTERN, examples=["east"])]
Units = Annotated[int, Field(ge=1, le=MOVEMENT_QUANTITY_MAX, examples=[1])]
UnitsOrNone = Annotated[int, Field(ge=0, le=MOVEMENT_QUANTITY_MAX)]
Reason = Annotated[
    str,
    Field(
        max_length=REASON_LENGTH_MAX,
        pattern=_NO_CONTROLS_OR_NOTHING,
        description="Why, in the words of whoever does it.",
    ),
]
Reference = Annotated[
    str,
    Field(
        max_length=REFERENCE_LENGTH_MAX,
        pattern=_NO_CONTROLS_OR_NOTHING,
        examples=["PO-2026-17"],
        description="Of which order or document.",
    ),
]
State = Annotated[StockState, Field(strict=False)]


class _OfSku(Body):
    sku: BookSku


_Line = TypeVar("_Line", bound=_OfSku)


def _each_once(lines: list[_Line]) -> list[_Line]:
    if len({line.sku for line in lines}) < len(lines):
        raise ValueError("name each SKU once; add it up")
    return lines


Lines = Annotated[
    list[_Line], Field(min_length=1, max_length=LINES_MAX), AfterValidator(_each_once)
]
"""Each SKU at most once."""


class SkuRequest(Body):
    """All that is known of a SKU; what is left out is empty or 0."""

    spu: Annotated[str, Field(max_length=128, pattern=_NO_CONTROLS_OR_NOTHING)] = Field(
        default="", description="The product that it is a variant of."
    )
    title: Annotated[str, Field(max_length=TITLE_LENGTH_MAX, pattern=_NO_CONTROLS_OR_NOTHING)] = ""
    price_minor: Annotated[int, Field(ge=0, le=PRICE_MINOR_MAX)] = Field(
        default=0, description="In the smallest unit of the currency: 1999 is 19.99."
    )
    currency: Annotated[str, Field(pattern=CURRENCY_PATTERN)] | None = None
    safety_stock: UnitsOrNone = Field(
        default=0, description="A threshold: below it, warn and stop publishing."
    )
    lead_time_days: Annotated[int, Field(ge=0, le=LEAD_TIME_DAYS_MAX)] = 0


class RegionRequest(Body):
    region: Annotated[
        str, Field(min_length=1, max_length=64, pattern=NO_CONTROL_CHARACTERS, examples=["DE-BE"])
    ]
    level: Annotated[int, Field(ge=1, le=100)] = Field(description="1 is the fastest.")


class LocationRequest(Body):
    """All that is known of a location; the regions it serves are replaced as a whole."""

    name: Annotated[str, Field(max_length=TITLE_LENGTH_MAX, pattern=_NO_CONTROLS_OR_NOTHING)] = ""
    kind: Literal["warehouse", "store"] = "warehouse"
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=100, description="Of two that serve a region equally, the lower one is first."
    )
    regions: Annotated[list[RegionRequest], Field(max_length=REGIONS_MAX)] | None = None

    @field_validator("regions", mode="after")
    @classmethod
    def _once(cls, regions: list[RegionRequest] | None) -> list[RegionRequest] | None:
        if len({row.region for row in regions or ()}) < len(regions or ()):
            raise ValueError("name each region once")
        return regions


class MovementLineRequest(Body):
    """Units to move. Where the kind knows several ways, `source` or `target` says which."""

    sku: BookSku
    location: LocationCode
    quantity: Units
    source: State | None = None
    target: State | None = None


class MovementRequest(Body):
    """A movement that a person posts: all of its lines, or none."""

    kind: Literal[
        "receive",
        "ship",
        "lock",
        "unlock",
        "commit",
        "uncommit",
        "return",
        "write_off",
        "sold_elsewhere",
        "reserve",
        "inspect",
    ]
    lines: Annotated[list[MovementLineRequest], Field(min_length=1, max_length=LINES_MAX)]
    reason: Reason = ""
    reference: Reference = ""


class ReverseRequest(Body):
    """Why a movement is taken back."""

    reason: Annotated[
        str, Field(min_length=1, max_length=REASON_LENGTH_MAX, pattern=NO_CONTROL_CHARACTERS)
    ]


class CommitmentLineRequest(Body):
    sku: BookSku
    location: LocationCode
    quantity: Units


class CommitmentRequest(Body):
    """Units that an order takes, all or nothing, from the states of the draw order."""

    order: Annotated[
        str,
        Field(
            min_length=1,
            max_length=REFERENCE_LENGTH_MAX,
            pattern=NO_CONTROL_CHARACTERS,
            examples=["order-2026-17"],
        ),
    ]
    lines: Annotated[list[CommitmentLineRequest], Field(min_length=1, max_length=LINES_MAX)]
    reason: Reason = ""


class DrawOrderRequest(Body):
    """The states that orders draw on, first to last; those left out are not drawn on."""

    states: Annotated[
        list[Literal["available", "reserved", "bought_out", "virtual"]],
        Field(min_length=1, max_length=4),
    ]

    @field_validator("states", mode="after")
    @classmethod
    def _once(cls, states: list[str]) -> list[str]:
        if len(set(states)) < len(states):
            raise ValueError("name each state once")
        return states


class VirtualRequest(Body):
    """How many units may be sold though they are not there: a number, or so many for each unit
    that is on hand now, rounded down."""

    allowance: UnitsOrNone | None = None
    oversell_ratio: Annotated[float, Field(ge=0, le=OVERSELL_RATIO_MAX)] | None = None
    reason: Reason = ""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.allowance is None) == (self.oversell_ratio is None):
            raise ValueError("name allowance or oversell_ratio, not both")
        return self


class OrderedLineRequest(_OfSku):
    quantity: Units


class PurchaseRequest(Body):
    """What was bought. It is in transit at `location` until it is received or cancelled."""

    location: LocationCode
    lines: Lines[OrderedLineRequest]
    supplier: Reference = ""
    reference: Reference = ""
    expected_at: Time | None = None


class PurchaseReceiptLineRequest(_OfSku):
    """What came of a line: sound units, and damaged ones."""

    quantity: UnitsOrNone = 0
    damaged: UnitsOrNone = 0


class PurchaseReceiptRequest(Body):
    """What came; all that is still expected, and sound, where no lines are given."""

    lines: Lines[PurchaseReceiptLineRequest] | None = None


class ReasonRequest(Body):
    """Why, if somebody wants to say."""

    reason: Reason = ""


class TransferRequest(Body):
    """Units that are to go from one location to another."""

    source: LocationCode
    destination: Annotated[str, Field(pattern=LOCATION_PATTERN, examples=["west"])]
    lines: Lines[OrderedLineRequest]
    reference: Reference = ""

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.source == self.destination:
            raise ValueError("source and destination must be two locations")
        return self


class DispatchRequest(Body):
    """What leaves; all that is outgoing where no lines are given."""

    lines: Annotated[list[OrderedLineRequest], Field(min_length=1, max_length=LINES_MAX)] | None = (
        None
    )


class TransferReceiptLineRequest(_OfSku):
    """What became of units in transit: arrived sound, arrived damaged, or lost."""

    quantity: UnitsOrNone = 0
    damaged: UnitsOrNone = 0
    lost: UnitsOrNone = 0


class TransferReceiptRequest(Body):
    """What arrived; all that is in transit, and sound, where no lines are given."""

    lines: Lines[TransferReceiptLineRequest] | None = None


class CountRequest(_OfSku):
    counted: UnitsOrNone = Field(description="Units on hand, whatever their state.")


class StocktakeRequest(Body):
    """What was found at a location. Nothing moves before somebody approves it."""

    location: LocationCode
    counts: Lines[CountRequest]
    reference: Reference = ""


class LotRequest(Body):
    """Units that are guaranteed until a moment."""

    sku: BookSku
    location: LocationCode
    quantity: Units
    guaranteed_until: Time
    reference: Reference = ""


class ReleaseLotRequest(Body):
    """How many units of the lot are left; the whole lot where no number is given."""

    quantity: Units | None = None
    reason: Reason = ""


class ExtendLotRequest(Body):
    guaranteed_until: Time


class _Page(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT


class SkuPageRequest(_Page):
    """Which SKUs to list."""

    after: Annotated[str, Field(max_length=128, pattern=_NO_CONTROLS_OR_NOTHING)] = ""
    spu: Annotated[str, Field(max_length=128, pattern=_NO_CONTROLS_OR_NOTHING)] | None = None


class LocationPageRequest(_Page):
    """Which locations to list."""

    after: Annotated[str, Field(max_length=64, pattern=_NO_CONTROLS_OR_NOTHING)] = ""


class BalancePageRequest(_Page):
    """Which balances to list."""

    after: Annotated[str, Field(pattern=_CELL_OR_NOTHING)] = Field(
        default="", description="`next_after` of the page before: a SKU, a slash, a location."
    )
    location: LocationCode | None = None


class MovementPageRequest(NumberedPageRequest):
    """Which movements to list: those that have all of what is named."""

    sku: BookSku | None = None
    location: LocationCode | None = None
    kind: MovementKind | None = None
    reference: Reference | None = None
    order: Literal["newest", "oldest"] = "newest"


class PurchasePageRequest(NumberedPageRequest):
    state: PurchaseState | None = None


class TransferPageRequest(NumberedPageRequest):
    state: TransferState | None = None


class StocktakePageRequest(NumberedPageRequest):
    state: StocktakeState | None = None


class LotPageRequest(NumberedPageRequest):
    """Which lots to list."""

    state: LotState | None = None
    expires_within_days: Annotated[int, Field(ge=0, le=LEAD_TIME_DAYS_MAX)] | None = Field(
        default=None, description="Open lots whose time is over within so many days, or is over."
    )


class IdentityRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    deep: bool = Field(default=False, description="Add up every movement there ever was.")
