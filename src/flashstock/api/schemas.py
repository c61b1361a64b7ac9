"""What a caller may send, field by field: strict types, known names only, bounds on everything.

The models serve FastAPI, the OpenAPI document, and the wording of every complaint. The lean
routes read with ``requests``, which accepts exactly the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
)

from flashstock.api.auth import KEY_NAME_PATTERN, RESERVED_NAMES, Role
from flashstock.errors import InvalidRequest
from flashstock.model import eligibility, rules
from flashstock.model.ids import POOL_ID_PATTERN
from flashstock.model.stock import SKU_PATTERN

NO_CONTROL_CHARACTERS: Final = r"^[^\x00-\x1f\x7f-\x9f]+$"
"""Packed records and log payloads separate fields with control characters."""
PAGE_LIMIT_DEFAULT: Final = 100
PAGE_LIMIT_MAX: Final = 1_000
RECEIPT_LENGTH_MAX: Final = 1_024
"""The longest receipt there is, buyers of wide characters included, has about 990."""
PRINTABLE_ASCII: Final = r"^[\x20-\x7e]+$"
CURRENCY_PATTERN: Final = r"^[A-Z]{3}$"
_POOL_ID_OR_NOTHING: Final = POOL_ID_PATTERN.replace("^", "^(").replace("$", ")?$")
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(value: object) -> int:
    """Milliseconds since the epoch of an RFC 3339 time with an offset; finer digits are cut.

    Raises ``ValueError`` with words for the caller.
    """
    if not isinstance(value, str) or _RFC_3339.fullmatch(value) is None:
        raise ValueError("must be an RFC 3339 time with an offset, like 2026-11-22T03:00:00.000Z")
    try:
        moment = datetime.fromisoformat(value.upper())
        since = moment - _EPOCH
    except (ValueError, OverflowError) as problem:
        raise ValueError(f"is not a time: {problem}") from None
    time_ms = since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
    if not 0 < time_ms <= rules.TIME_MS_MAX:
        raise ValueError("must lie between the years 1970 and 2286")
    return time_ms


PoolId = Annotated[str, Field(pattern=POOL_ID_PATTERN, examples=["campaign-1"])]
Buyer = Annotated[
    str,
    Field(
        min_length=1,
        max_length=rules.BUYER_LENGTH_MAX,
        pattern=NO_CONTROL_CHARACTERS,
        examples=["buyer-42"],
        description="Who the units are for, in the shop's own terms.",
    ),
]
Sku = Annotated[
    str,
    Field(
        min_length=1,
        max_length=rules.SKU_LENGTH_MAX,
        pattern=NO_CONTROL_CHARACTERS,
        examples=["85123A"],
    ),
]
PaymentRef = Annotated[
    str,
    Field(
        min_length=1,
        max_length=rules.PAYMENT_REF_LENGTH_MAX,
        pattern=NO_CONTROL_CHARACTERS,
        examples=["pay-9001"],
        description="The payment's reference; one confirms at most one reservation.",
    ),
]
Receipt = Annotated[
    str,
    Field(
        min_length=1,
        max_length=RECEIPT_LENGTH_MAX,
        pattern=PRINTABLE_ASCII,
        description="As the reservation's answer gave it. Proves a hold that no store knows.",
    ),
]
Channel = Annotated[
    str,
    Field(
        pattern=eligibility.CHANNEL_PATTERN,
        examples=["app"],
        description="Where the buyer came from, in the shop's own terms.",
    ),
]
Quantity = Annotated[int, Field(ge=1, le=rules.QUANTITY_MAX, examples=[1])]
PoolQuantity = Annotated[int, Field(ge=0, le=rules.POOL_QUANTITY_MAX, examples=[500])]
Delta = Annotated[int, Field(ge=-rules.POOL_QUANTITY_MAX, le=rules.POOL_QUANTITY_MAX)]
HoldSeconds = Annotated[int, Field(ge=1, le=rules.HOLD_SECONDS_MAX)]
IdempotencyKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=rules.IDEMPOTENCY_KEY_LENGTH_MAX,
        pattern=PRINTABLE_ASCII,
        examples=["order-2026-000017"],
    ),
]
Time = Annotated[
    int,
    BeforeValidator(parse_time),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2026-11-22T03:00:00.000Z"]}
    ),
]


class Body(BaseModel):
    """Nothing is converted, nothing unknown is passed over."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class NothingBody(Body):
    """A body that says nothing: ``{}``, or none at all."""


class AttestsRequest(Body):
    """What the caller knows of the buyer and of the way the request came.

    Pools for an audience, or for some channels, ask for it. It is no part of what a repetition is
    recognised by.
    """

    new_buyer: bool = False
    named: bool = Field(
        default=False, description="Whether the buyer is one of those named beforehand."
    )
    level: Annotated[int, Field(ge=0, le=eligibility.LEVEL_MAX, examples=[3])] = 0
    channel: Channel | None = None

    def attests(self) -> eligibility.Attests:
        """The same, for the services."""
        return eligibility.Attests(self.new_buyer, self.named, self.level, self.channel or "")


class ReservationRequest(Body):
    """Units of one pool for one buyer."""

    pool: PoolId
    buyer: Buyer
    quantity: Quantity
    attests: AttestsRequest | None = None


class BatchItem(Body):
    """A reservation with the idempotency key of its own."""

    idempotency_key: IdempotencyKey
    pool: PoolId
    buyer: Buyer
    quantity: Quantity
    attests: AttestsRequest | None = None


class BatchRequest(Body):
    """Reservations that are decided independently of each other."""

    items: Annotated[list[BatchItem], Field(min_length=1, max_length=rules.BATCH_ITEMS_MAX)]


class ConfirmRequest(Body):
    """The receipt is needed only where the hold itself may be lost (pools of mode `fast`)."""

    payment_ref: PaymentRef
    receipt: Receipt | None = None


class ExtendRequest(Body):
    """The deadline moves to ``seconds`` from now, never to an earlier moment."""

    seconds: Annotated[HoldSeconds, Field(examples=[600])]


class ReturnRequest(Body):
    """Units of a sale that come back; all that are left where no number is given."""

    quantity: Quantity | None = None
    restock: bool = Field(
        default=True,
        description="Whether the pool can sell them again; else they leave it (its `total` too).",
    )


class CartLineRequest(Body):
    pool: PoolId
    quantity: Quantity


class CartRequest(Body):
    """Several pools for one buyer, all or nothing. The same pool twice is added up first."""

    buyer: Buyer
    lines: Annotated[list[CartLineRequest], Field(min_length=1, max_length=rules.CART_LINES_MAX)]
    attests: AttestsRequest | None = None

    @field_validator("lines", mode="after")
    @classmethod
    def _sums_within_bounds(cls, lines: list[CartLineRequest]) -> list[CartLineRequest]:
        sums: Counter[str] = Counter()
        for line in lines:
            sums[line.pool] += line.quantity
        for pool, quantity in sums.items():
            if quantity > rules.QUANTITY_MAX:
                raise ValueError(
                    f"the lines of {pool!r} add up to {quantity}, more than {rules.QUANTITY_MAX}"
                )
        return lines


class SettleRequest(Body):
    """The payment went back to the buyer."""

    reference: Annotated[
        str,
        Field(
            min_length=1,
            max_length=rules.PAYMENT_REF_LENGTH_MAX,
            pattern=NO_CONTROL_CHARACTERS,
            examples=["refund-9001"],
            description="What the transfer is called where the money is; one a refund.",
        ),
    ]


class RepairRequest(Body):
    """Bring Redis back to what SQL says; only shows what would be written unless told."""

    dry_run: bool = True


class RebuildRequest(Body):
    """Build Redis anew from SQL; only says what that would restore unless told."""

    dry_run: bool = True


class KeyRequest(Body):
    """An API key to make. A name is used once, also after its key was revoked."""

    name: Annotated[str, Field(pattern=KEY_NAME_PATTERN, examples=["shop"])]
    role: Annotated[Role, Field(strict=False)]

    @field_validator("name", mode="after")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in RESERVED_NAMES:
            raise ValueError(f"{name!r} is reserved")
        return name


class PoolPageRequest(BaseModel):
    """Which pools to list. Query parameters are text, so numbers are read from it."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, Field(pattern=_POOL_ID_OR_NOTHING)] = Field(
        default="", description="The last id of the page before."
    )
    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT


class NumberedPageRequest(BaseModel):
    """Which rows to list."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[int, Field(ge=0, le=2**53)] = Field(
        default=0, description="The last id of the page before."
    )
    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT


class RefundPageRequest(NumberedPageRequest):
    """Which refunds to list."""

    settled: bool | None = Field(
        default=None, description="`false`: those still due; `true`: those given back; else all."
    )


class AuditPageRequest(NumberedPageRequest):
    """Which changes to list, the newest first."""

    actor: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="Of this API key only."
    )
    via: Literal["api", "console", "cli"] | None = None


def invalid_request(problems: Sequence[Mapping[str, Any]]) -> InvalidRequest:
    """Pydantic's findings, for the caller: which field, and what is wrong with it."""
    errors = [
        {"field": _field_name(found["loc"]), "problem": _sentence(found)} for found in problems[:20]
    ]
    first = errors[0]
    where = f"{first['field']}: " if first["field"] else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidRequest(f"{where}{first['problem']}{more}", errors=errors)


def _field_name(location: Sequence[str | int]) -> str:
    """``("body", "items", 0, "pool")`` → ``items[0].pool``."""
    name = ""
    for part in location[1:]:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part[:64]}" if name else part[:64]
    return name


def _sentence(found: Mapping[str, Any]) -> str:
    """Pydantic's message as a predicate of the field's name."""
    kind = found["type"]
    if kind == "string_pattern_mismatch":
        # A pattern of a model that has no words here is a mistake of ours, not the caller's.
        return _PATTERN_WORDS.get(found["ctx"]["pattern"], str(found["msg"]))
    if kind in _KIND_WORDS:
        return _KIND_WORDS[kind]
    text = str(found["msg"]).removeprefix("Value error, ")
    return _SUBJECT.sub("must ", text)


_SUBJECT: Final = re.compile(r"^(Input|String|List|Value) should ")
_KIND_WORDS: Final = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
}
_PATTERN_WORDS: Final = {
    eligibility.CHANNEL_PATTERN: "must be 1 to 32 of A-Z a-z 0-9 . _ - and begin with a letter or"
    " digit",
    eligibility.AUDIENCE_PATTERN: "must be new, named, or level:1 to level:99",
    NO_CONTROL_CHARACTERS: "must not hold control characters",
    PRINTABLE_ASCII: "must hold printable ASCII characters only",
    SKU_PATTERN: "must be 1 to 128 characters, without slashes and control characters",
    CURRENCY_PATTERN: "must be the three capital letters of a currency, like EUR",
    _POOL_ID_OR_NOTHING: "must be the id of a pool",
    POOL_ID_PATTERN: "must be 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit;"
    " before that, a group of the same form and a colon, or nothing",
    KEY_NAME_PATTERN: "must be 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit",
}
