"""What visitors may send, checked; and what they are told where it can't be done."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from flashstock.errors import (
    BodyTooLarge,
    FlashstockError,
    Forbidden,
    InvalidRequest,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from flashstock.model.rules import QUANTITY_MAX
from flashstock.storefront.shop import SaleWanted
from flashstock.storefront.visitors import came_from_here

BODY_BYTES_MAX: Final = 4_096
FORM_TYPE: Final = "application/x-www-form-urlencoded"
JSON_TYPE: Final = "application/json"
NUMBERS: Final = {
    "units": ("Units", 1, 100_000, 5),
    "opens_in_seconds": ("Opens in (seconds)", 0, 86_400, 15),
    "hold_seconds": ("Time to pay (seconds)", 2, 86_400, 60),
    "per_buyer_limit": ("Units per buyer", 1, 1_000, 1),
}
GROUP_NUMBERS: Final = {
    "group_size": ("Seats in a group (0: sells to anyone)", 0, 1_000, 0),
    "group_life_seconds": ("A group gathers for (seconds)", 1, 86_400, 3_600),
}
"""What a sale is made with: what it is called, the least, the most, and the usual."""
KEY_MISSING: Final = (
    "this service takes API keys, and the shop has none that it knows: FLASHSTOCK_STOREFRONT_KEY"
)
_KEY: Final = re.compile(r"[A-Za-z0-9-]{8,64}")


_Asked = TypeVar("_Asked")


class Purchase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish, under the key by which the browser repeats it."""

    key: str
    quantity: int = 1


class Seat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish for a seat. ``match``: in a group that somebody else has opened, if there is any."""

    key: str
    match: bool = False


class Payment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The receipt of the hold, as the browser kept it."""

    receipt: str | None = None


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``{}``."""


async def purchase_of(request: Request) -> Purchase:
    """Raises ``InvalidRequest`` and what else is wrong with a request."""
    asked = _decoded(await _body(request, JSON_TYPE), Purchase)
    _check_key(asked.key)
    if not 1 <= asked.quantity <= QUANTITY_MAX:
        raise InvalidRequest(f"quantity: 1 to {QUANTITY_MAX}")
    return asked


async def seat_of(request: Request) -> Seat:
    """Raises ``InvalidRequest`` and what else is wrong with a request."""
    asked = _decoded(await _body(request, JSON_TYPE), Seat)
    _check_key(asked.key)
    return asked


async def payment_of(request: Request) -> Payment:
    """Raises ``InvalidRequest`` and what else is wrong with a request."""
    return _decoded(await _body(request, JSON_TYPE), Payment)


async def nothing_of(request: Request) -> None:
    """Raises ``InvalidRequest`` where it says something."""
    _decoded(await _body(request, JSON_TYPE), Nothing)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that a page of this shop sent."""
    body = await _body(request, FORM_TYPE)
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=20, keep_blank_values=True))
    except ValueError as problem:
        raise InvalidRequest(f"the form can't be read: {problem}") from problem


def sale_of(form: dict[str, str]) -> SaleWanted:
    """Raises ``InvalidRequest``, naming every field that is wrong."""
    numbers, wrong = {}, []
    for name, (label, least, most, usual) in (NUMBERS | GROUP_NUMBERS).items():
        text = form.get(name, str(usual) if name in GROUP_NUMBERS else "").strip()
        if text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most:
            numbers[name] = int(text)
        else:
            wrong.append(f"{label}: a whole number from {least} to {most}")
    if numbers.get("group_size") == 1:
        wrong.append("Seats in a group: 2 or more, or 0 to sell to anyone")
    if wrong:
        raise InvalidRequest("; ".join(wrong))
    return SaleWanted(**numbers)


def problem_body(error: FlashstockError) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of what went wrong, for a page.

    A key that is not known is the shop's trouble, not the visitor's: he is not asked for one.
    """
    if isinstance(error, Unauthorized):
        error, status = Unauthorized(KEY_MISSING), 502
    else:
        status = error.status
    shown = error.title if error.status >= 500 else error.detail
    body = {"code": error.code, "title": error.title, "detail": shown}
    if error.status != 500:
        body = {**error.extra, **body}
    headers = {}
    if isinstance(error, Unavailable):
        wait_ms = int(error.extra.get("retry_after_ms", error.retry_after_seconds * 1_000))
        headers["Retry-After"] = str(max(1, -(-wait_ms // 1_000)))
    return status, body, headers


def _check_key(key: str) -> None:
    if _KEY.fullmatch(key) is None:
        raise InvalidRequest("key: 8 to 64 letters, digits and hyphens")


def _decoded(body: bytes, kind: type[_Asked]) -> _Asked:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise InvalidRequest(str(problem)) from problem


async def _body(request: Request, media_type: str) -> bytes:
    """The whole body, of a bounded size, from a page of this shop."""
    if not came_from_here(request):
        raise Forbidden("this was not sent by a page of this shop")
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent != media_type:
        raise UnsupportedMediaType(f"the body must be {media_type}")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise BodyTooLarge(f"at most {BODY_BYTES_MAX} bytes")
    return body
