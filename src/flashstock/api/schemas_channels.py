"""What a caller may send about shops: strict types, known names, bounds on everything."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from flashstock.api.schemas import (
    NO_CONTROL_CHARACTERS,
    PAGE_LIMIT_DEFAULT,
    PAGE_LIMIT_MAX,
    Body,
)
from flashstock.api.schemas_stock import BookSku, LocationCode, Units
from flashstock.channels.registry import CHANNEL_ID_PATTERN
from flashstock.channels.shares import ChannelMode, Policy
from flashstock.channels.states import OrderState
from flashstock.model.stock import MOVEMENT_QUANTITY_MAX

WEIGHT_MAX: Final = 1_000_000
CHANNELS_MAX: Final = 1_000
STATES_MAX: Final = 200
LOCATIONS_MAX: Final = 1_000
LINES_MAX: Final = 250
WORD_LENGTH_MAX: Final = 64
CURSOR_LENGTH_MAX: Final = 1_024
_ID_OR_NOTHING: Final = CHANNEL_ID_PATTERN.replace("^", "^(").replace("$", ")?$")

ChannelId = Annotated[str, Field(pattern=CHANNEL_ID_PATTERN, examples=["app"])]
Weight = Annotated[int, Field(ge=0, le=WEIGHT_MAX, examples=[40])]
Mode = Annotated[ChannelMode, Field(strict=False)]
WORD_PATTERN: Final = NO_CONTROL_CHARACTERS.replace("+$", f"{{1,{WORD_LENGTH_MAX}}}$")
Word = Annotated[
    str,
    Field(
        pattern=WORD_PATTERN,
        examples=["WAIT_SELLER_SEND_GOODS"],
        description="In the shop's own terms.",
    ),
]


def _object(keys: str, values: dict[str, Any], properties_max: int) -> WithJsonSchema:
    """An object all of whose keys are of one pattern: pydantic itself does not say "all"."""
    return WithJsonSchema(
        {
            "type": "object",
            "maxProperties": properties_max,
            "patternProperties": {keys: values},
            "additionalProperties": False,
        }
    )


Weights = Annotated[
    dict[ChannelId, Weight],
    Field(max_length=CHANNELS_MAX),
    _object(
        CHANNEL_ID_PATTERN, {"type": "integer", "minimum": 0, "maximum": WEIGHT_MAX}, CHANNELS_MAX
    ),
]
States = Annotated[
    dict[Word, Annotated[OrderState, Field(strict=False)]],
    Field(max_length=STATES_MAX),
    _object(WORD_PATTERN, {"type": "string", "enum": [*OrderState]}, STATES_MAX),
]


class ChannelRequest(Body):
    """All that is known of a shop; what is left out is the default again."""

    name: Annotated[
        str, Field(min_length=1, max_length=200, pattern=NO_CONTROL_CHARACTERS, examples=["App"])
    ]
    mode: Mode = Field(
        default=ChannelMode.WEIGHT,
        description="`weight`: it divides the stock with the others of this mode. `shared`: it"
        " shows all of it.",
    )
    weight: Weight = 1
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=100, description="Who is given the odd unit first: the lower one."
    )
    locations: Annotated[list[LocationCode], Field(max_length=LOCATIONS_MAX)] | None = Field(
        default=None, description="The only locations it sells and is sent from; all by default."
    )


class PolicyRequest(Body):
    """How numbers are published; what is left out is the default again."""

    mode: Mode | None = Field(default=None, description="Instead of each shop's own mode.")
    low_water: Annotated[int, Field(ge=0, le=MOVEMENT_QUANTITY_MAX)] = Field(
        default=0,
        description="Where shops share a stock: below so many units only `low_water_channel`"
        " shows any.",
    )
    low_water_channel: ChannelId | None = None
    weights: Weights | None = Field(
        default=None, description="Instead of the weights of the shops that are named."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.low_water > 0) != (self.low_water_channel is not None):
            raise ValueError("low_water and low_water_channel go together")
        return self

    def policy(self) -> Policy:
        """As the arithmetic takes it."""
        return Policy(self.mode, self.low_water, self.low_water_channel, self.weights or {})


class StatesRequest(Body):
    """What the shop's words for the state of an order mean; all of them at once."""

    states: States


class OutsideLineRequest(Body):
    """Units of a SKU that the shop sold."""

    sku: BookSku
    quantity: Units
    location: LocationCode | None = Field(
        default=None, description="Where they are taken; chosen by us where it is left out."
    )


class OutsideOrderRequest(Body):
    """What the shop says of one of its orders."""

    state: Word
    lines: Annotated[list[OutsideLineRequest], Field(min_length=1, max_length=LINES_MAX)] | None = (
        Field(default=None, description="Required by the time it is paid.")
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        cells = [(line.sku, line.location) for line in self.lines or ()]
        if len(set(cells)) < len(cells):
            raise ValueError("lines: name each SKU once per location; add it up")
        return self


class ChannelPageRequest(BaseModel):
    """Which shops to list."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, Field(pattern=_ID_OR_NOTHING)] = Field(
        default="", description="The last id of the page before."
    )
    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT


class PolicyPageRequest(BaseModel):
    """Which policies to list."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[
        str, Field(max_length=128, pattern=NO_CONTROL_CHARACTERS.replace("+$", "*$"))
    ] = Field(default="", description="The last SKU of the page before.")
    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT


class PublicationRequest(BaseModel):
    """Which numbers to tell."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[str, Field(max_length=CURSOR_LENGTH_MAX)] = Field(
        default="", description="`cursor` of the answer before; nothing for all there is."
    )
    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT
