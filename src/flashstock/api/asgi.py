"""The few ASGI things that every kind of route shares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from flashstock.errors import BodyTooLarge, InvalidRequest
from flashstock.model.csv_rows import BYTES_MAX as CSV_BYTES_MAX

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIHandler = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_BYTES_MAX: Final = 64 * 1024
BATCH_BODY_BYTES_MAX: Final = 1024 * 1024
BATCH_PATH: Final = "/v1/reservations/batch"
CSV_PATHS: Final = ("/v1/imports/", "/v1/payments/statements")
"""Where files are taken."""


class ClientGone(Exception):
    """The client hung up before its request was complete: there is nobody to answer."""


def header_of(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header, or ``None``.

    Raises:
        InvalidRequest: it was sent more than once, so that what was meant is anybody's guess.
    """
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    values = [value for key, value in headers if key == name]
    if len(values) > 1:
        header = name.decode("latin-1").title()
        problem = [{"field": header, "problem": "was sent more than once"}]
        raise InvalidRequest(f"the header {header} was sent more than once", errors=problem)
    return values[0] if values else None


def body_bytes_max(path: str) -> int:
    """How large a body may be that is sent to this path."""
    if path.startswith(CSV_PATHS):
        return CSV_BYTES_MAX
    return BATCH_BODY_BYTES_MAX if path == BATCH_PATH else BODY_BYTES_MAX


def check_content_length(scope: Scope) -> None:
    """Refuse a body by its announced size, before any of it is read.

    Raises:
        BodyTooLarge: it is larger than this path takes. InvalidRequest: that is no number.
    """
    announced = header_of(scope, b"content-length")
    if announced is None:
        return
    if not announced.isdigit():
        problem = [{"field": "Content-Length", "problem": "is not a number"}]
        raise InvalidRequest("Content-Length is not a number", errors=problem)
    limit = body_bytes_max(scope["path"])
    if len(announced) > 16 or int(announced) > limit:
        raise BodyTooLarge(f"this path takes at most {limit} bytes", bytes_max=limit)


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body, but never much more of it than the path takes.

    Raises:
        BodyTooLarge: it turned out larger, whatever it had announced.
        ClientGone: there is nobody to answer any more.
    """
    limit = body_bytes_max(scope["path"])
    body: bytes | bytearray = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        # Servers hand over nearly every body in one piece, so this rarely joins anything.
        if body:
            body = body if isinstance(body, bytearray) else bytearray(body)
            body += message.get("body", b"")
        else:
            body = message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge(f"this path takes at most {limit} bytes", bytes_max=limit)
        more = message.get("more_body", False)
    return bytes(body)
