"""The id of a request: on its answer, and on every line that is logged because of it."""

from __future__ import annotations

import logging
import re
import secrets
from contextvars import ContextVar
from typing import Final

HEADER: Final = b"x-request-id"
_SANE: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")

current: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""Of the request that this task answers; tasks it starts inherit it. Empty where there is none."""


def sane(sent: bytes | None) -> bytes | None:
    """The caller's own id, if it may stand in a header and in a log."""
    return sent if sent is not None and _SANE.fullmatch(sent) else None


def new() -> bytes:
    """An id for a request that brought none."""
    return secrets.token_hex(8).encode()


class RequestIdFilter(logging.Filter):
    """Notes the request's id on what is logged, as ``request_id``. Lets everything pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if (request_id := current.get()) and not hasattr(record, "request_id"):
            record.request_id = request_id
        return True
