"""From a problem document back to the typed error that the service raised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from flashstock.errors import FlashstockError, Unavailable


class UnexpectedAnswer(FlashstockError):
    """The service answered something that is not in its interface. ``code`` stays as received."""

    code = "unexpected_answer"
    title = "The service gave an answer that its interface does not know"


STANDARD_MEMBERS: Final = frozenset({"type", "title", "status", "detail", "code", "self"})
RETRIED_STATUSES: Final = frozenset({502, 503, 504})
"""Our 503, and what a proxy says when it could not reach us."""


def _tree(root: type[FlashstockError]) -> Iterator[type[FlashstockError]]:
    for child in root.__subclasses__():
        yield child
        yield from _tree(child)


ERROR_OF_CODE: Final = {error.code: error for error in _tree(FlashstockError)}


def error_of(status: int, payload: bytes) -> FlashstockError:
    """The error that an answer of ``status`` 300 and more stands for.

    Members of the problem beyond the standard ones are in ``extra``.
    """
    problem = _problem(payload)
    detail = problem.get("detail") or problem.get("title") or ""
    known = ERROR_OF_CODE.get(str(problem.get("code")))
    if known is not None:
        extra = {name: value for name, value in problem.items() if name not in STANDARD_MEMBERS}
        return known(str(detail), **extra)
    if status in RETRIED_STATUSES:
        return Unavailable(f"status {status}: {_excerpt(payload)}")
    return UnexpectedAnswer(f"status {status}: {_excerpt(payload)}", http_status=status)


def _problem(payload: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _excerpt(payload: bytes) -> str:
    return payload[:200].decode(errors="replace") or "no body"
