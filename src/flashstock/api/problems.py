"""Errors as RFC 9457 problem documents: the one place where an error becomes an answer.

Headers are ASGI pairs: lower-case names, bytes. What a 5xx was exactly is for the log; the
caller gets the title, since a detail may quote a driver or a path.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from flashstock.errors import (
    FlashstockError,
    RateLimited,
    Unauthorized,
    Unavailable,
    WrongMethod,
)

Headers = list[tuple[bytes, bytes]]

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
PROBLEM_TYPE_PREFIX: Final = "urn:flashstock:problem:"

_CONTENT_TYPE: Final = (b"content-type", PROBLEM_MEDIA_TYPE.encode())
_NO_STORE: Final = (b"cache-control", b"no-store")
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")


def problem_type(code: str) -> str:
    """The URN that identifies a kind of problem."""
    return PROBLEM_TYPE_PREFIX + code


def problem_document(error: FlashstockError) -> dict[str, Any]:
    """The members of the problem, standard ones first.

    Anything without an HTTP meaning of its own (status 500) is ``internal_error`` and shows
    nothing of itself.
    """
    kind = FlashstockError if error.status == 500 else type(error)
    document: dict[str, Any] = {
        "type": PROBLEM_TYPE_PREFIX + kind.code,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.title if kind.status >= 500 else error.detail,
        "code": kind.code,
    }
    if kind.status != 500:
        for name, value in error.extra.items():
            if value is not None:
                document.setdefault(name, value)
    return document


def problem_headers(error: FlashstockError) -> Headers:
    """Everything but the content length."""
    headers = [_CONTENT_TYPE, _NO_STORE, _NOSNIFF]
    if isinstance(error, Unavailable):
        headers.append((b"retry-after", b"%d" % error.retry_after_seconds))
    elif isinstance(error, RateLimited):
        wait_ms = int(error.extra.get("retry_after_ms", 1_000))
        headers.append((b"retry-after", b"%d" % max(1, -(-wait_ms // 1_000))))
    elif isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    elif isinstance(error, WrongMethod):
        headers.append((b"allow", ", ".join(error.extra.get("allow", ())).encode()))
    return headers


def problem_response_parts(error: FlashstockError) -> tuple[int, Headers, bytes]:
    """Status, headers (with the content length) and body of the answer."""
    document = problem_document(error)
    body = orjson.dumps(document)
    headers = problem_headers(error)
    headers.append((b"content-length", b"%d" % len(body)))
    return document["status"], headers, body
