"""Reading requests without the framework: headers, and the bodies of the lean routes.

msgspec is as strict as the models in ``schemas`` and many times faster.

What msgspec refuses is shown to the model, whose complaint the caller gets; so both kinds of
route speak with one voice. A test feeds both the same texts and compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

import msgspec
from pydantic import ValidationError

from flashstock.api import schemas
from flashstock.api.plain_json import plain_reader
from flashstock.api.strict_json import invalid_json, parse_json
from flashstock.errors import IdempotencyKeyRequired, InvalidRequest, UnsupportedMediaType
from flashstock.model import eligibility, rules
from flashstock.model.ids import POOL_ID_PATTERN

_KEY_LENGTH_MAX: Final = rules.IDEMPOTENCY_KEY_LENGTH_MAX
_JSON_TYPE: Final = re.compile(rb"application/json\s*(;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)


def idempotency_key(raw: bytes | None) -> str:
    """The value of the ``Idempotency-Key`` header.

    Raises:
        IdempotencyKeyRequired: there is none. InvalidRequest: it can't be one.
    """
    if raw is None:
        raise IdempotencyKeyRequired("send an Idempotency-Key header; the same one when you retry")
    stripped = raw.strip(b" \t")
    if not stripped:
        raise IdempotencyKeyRequired("the Idempotency-Key header is empty")
    key = stripped.decode("latin-1")
    # Of ASCII, exactly the space to the tilde are printable.
    if not (stripped.isascii() and key.isprintable() and len(key) <= _KEY_LENGTH_MAX):
        reason = f"must be 1 to {rules.IDEMPOTENCY_KEY_LENGTH_MAX} printable ASCII characters"
        problem = [{"field": "Idempotency-Key", "problem": reason}]
        raise InvalidRequest(f"Idempotency-Key {reason}", errors=problem)
    return key


def require_json(content_type: bytes | None) -> None:
    """Raise ``UnsupportedMediaType`` unless the header says ``application/json`` (in UTF-8)."""
    if content_type == b"application/json":
        return
    if content_type is None or _JSON_TYPE.fullmatch(content_type.strip(b" \t")) is None:
        raise UnsupportedMediaType("send the body as Content-Type: application/json (UTF-8)")


def _to_the_end(pattern: str) -> str:
    """In Python's dialect ``$`` lets a line end follow; in that of the models it does not."""
    return pattern.removesuffix("$") + r"\Z"


PoolIdText = Annotated[str, msgspec.Meta(pattern=_to_the_end(POOL_ID_PATTERN))]
BuyerText = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=rules.BUYER_LENGTH_MAX,
        pattern=_to_the_end(schemas.NO_CONTROL_CHARACTERS),
    ),
]
_PaymentRef = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=rules.PAYMENT_REF_LENGTH_MAX,
        pattern=_to_the_end(schemas.NO_CONTROL_CHARACTERS),
    ),
]
_Receipt = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=schemas.RECEIPT_LENGTH_MAX,
        pattern=_to_the_end(schemas.PRINTABLE_ASCII),
    ),
]
_IdempotencyKey = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=rules.IDEMPOTENCY_KEY_LENGTH_MAX,
        pattern=_to_the_end(schemas.PRINTABLE_ASCII),
    ),
]
_Quantity = Annotated[int, msgspec.Meta(ge=1, le=rules.QUANTITY_MAX)]


_Channel = Annotated[str, msgspec.Meta(pattern=_to_the_end(eligibility.CHANNEL_PATTERN))]


class AttestsBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A member that was not sent is told from one that was: see ``quotes_of``."""

    new_buyer: bool | msgspec.UnsetType = msgspec.UNSET
    named: bool | msgspec.UnsetType = msgspec.UNSET
    level: Annotated[int, msgspec.Meta(ge=0, le=eligibility.LEVEL_MAX)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    channel: _Channel | msgspec.UnsetType | None = msgspec.UNSET


class ReserveBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    pool: PoolIdText
    buyer: BuyerText
    quantity: _Quantity
    attests: AttestsBody | None = None


class BatchItemBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    idempotency_key: _IdempotencyKey
    pool: PoolIdText
    buyer: BuyerText
    quantity: _Quantity
    attests: AttestsBody | None = None


class BatchBody(msgspec.Struct, forbid_unknown_fields=True):
    items: Annotated[
        list[BatchItemBody], msgspec.Meta(min_length=1, max_length=rules.BATCH_ITEMS_MAX)
    ]


class ConfirmBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    payment_ref: _PaymentRef
    receipt: _Receipt | None = None


_reserve: Final = msgspec.json.Decoder(ReserveBody).decode
_batch: Final = msgspec.json.Decoder(BatchBody).decode
_confirm: Final = msgspec.json.Decoder(ConfirmBody).decode
_plain_reserve: Final = plain_reader(ReserveBody)
_plain_batch: Final = plain_reader(BatchBody)
_is_pool_id: Final = re.compile(POOL_ID_PATTERN.removesuffix("$")).fullmatch

_Struct = TypeVar("_Struct", bound=msgspec.Struct)

# Quotation marks in a body without a member twice and without escaped ones: two for each name
# and each string. More of them, and the slow reader has a look; fewer can't be.
_RESERVE_QUOTES: Final = 2 * (3 + 2)
_ITEM_QUOTES: Final = 2 * (4 + 3)
_BATCH_QUOTES: Final = 2
_CONFIRM_QUOTES: Final = 2 * (1 + 1)
_RECEIPT_QUOTES: Final = 2 * (1 + 1)


def decode_reserve(body: bytes) -> ReserveBody:
    """Read the body of ``POST /v1/reservations``. Raises ``InvalidRequest`` naming the field."""
    decoded = _plain_reserve(body)
    if decoded is None or not _is_pool_id(decoded.pool):
        decoded = _decode(_reserve, body, schemas.ReservationRequest)
    if body.count(b'"') != _RESERVE_QUOTES + quotes_of(decoded.attests):
        parse_json(body)
    return decoded


def decode_batch(body: bytes) -> BatchBody:
    """Read the body of ``POST /v1/reservations/batch``. Raises ``InvalidRequest``."""
    decoded = _plain_batch(body)
    if decoded is None or not all(map(_is_pool_id, {item.pool for item in decoded.items})):
        decoded = _decode(_batch, body, schemas.BatchRequest)
    excess = body.count(b'"') - _BATCH_QUOTES - _ITEM_QUOTES * len(decoded.items)
    if excess and excess != sum(quotes_of(item.attests) for item in decoded.items):
        parse_json(body)
    return decoded


def attested(attests: AttestsBody | None) -> str:
    """As the scripts read it (``Attests.packed``); empty where nothing is attested."""
    if attests is None:
        return ""
    return eligibility.Attests(
        attests.new_buyer is True, attests.named is True, attests.level or 0, attests.channel or ""
    ).packed()


def quotes_of(attests: AttestsBody | None) -> int:
    """Quotation marks of the member ``attests``: of its name, its members', and the channel's."""
    if attests is None:
        return 0
    members = (attests.new_buyer, attests.named, attests.level, attests.channel)
    named = sum(member is not msgspec.UNSET for member in members)
    return 2 * (1 + named + isinstance(attests.channel, str))


def decode_confirm(body: bytes) -> ConfirmBody:
    """Read the body of ``POST /v1/reservations/{id}/confirm``. Raises ``InvalidRequest``."""
    decoded = _decode(_confirm, body, schemas.ConfirmRequest)
    quotes = _CONFIRM_QUOTES if decoded.receipt is None else _CONFIRM_QUOTES + _RECEIPT_QUOTES
    if body.count(b'"') != quotes:
        parse_json(body)
    return decoded


def decode_cancel(body: bytes) -> None:
    """Read the body of ``POST …/{id}/cancel``: nothing, ``{}`` or ``null``.

    Raises ``InvalidRequest`` where it says something.
    """
    if body not in (b"", b"{}", b"null"):
        _refuse_by_model(body, schemas.NothingBody)


def read_lean(
    decode: Callable[[bytes], _Struct],
    body: bytes,
    model: type[schemas.Body],
    quotes: Callable[[_Struct], int],
) -> _Struct:
    """Read a body. Raises ``InvalidRequest``, as the model would.

    Args:
        quotes: how many quotation marks the body has if no member is in it twice.
    """
    decoded = _decode(decode, body, model)
    if body.count(b'"') != quotes(decoded):
        parse_json(body)
    return decoded


def _decode(decode: Callable[[bytes], _Struct], body: bytes, model: type[schemas.Body]) -> _Struct:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        _refuse_by_model(body, model)
        raise invalid_json(str(problem)) from None


def _refuse_by_model(body: bytes, model: type[schemas.Body]) -> None:
    """Raise what the model finds wrong, if it finds something."""
    try:
        model.model_validate(parse_json(body))
    except ValidationError as problem:
        found = problem.errors(include_url=False, include_input=False)
        located = [{**each, "loc": ("body", *each["loc"])} for each in found]
        raise schemas.invalid_request(located) from None
