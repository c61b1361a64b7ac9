"""Putting on record who changed what, for everything that takes the role ops or admin.

A change that was answered is on record. Where the record can't be written, the answer is a 503
though the change was made: the same request, sent again, finds that out and is on record then.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from flashstock.api.asgi import Scope
from flashstock.api.auth import Principal
from flashstock.errors import FlashstockError, Unavailable
from flashstock.ledger.audit import AuditLog, Change

DETAIL_LENGTH_MAX: Final = 1_000
SUBJECT_LENGTH_MAX: Final = 300
SECRETIVE: Final = ("/v1/webhooks",)
"""Paths whose bodies may hold what should not be read by everybody: addresses with passwords."""

_log = logging.getLogger("flashstock.api.audit")


async def on_record(
    log: AuditLog,
    request: Request,
    principal: Principal,
    body: bytes,
    work: Callable[[], Awaitable[Response]],
) -> Response:
    """Do the work, and put on record who asked for it and what came of it.

    Raises:
        FlashstockError: what the work raised; it is on record, too.
        Unavailable: the work is done, but not on record.
    """
    error: FlashstockError | None = None
    response: Response | None = None
    try:
        response = await work()
    except FlashstockError as refusal:
        error = refusal
    route = getattr(request.scope.get("route"), "path", "")
    change = Change(
        actor=principal.name,
        role=principal.role.value,
        via="api",
        address=address_of(request.scope),
        action=f"{request.method} {route}",
        subject=request.url.path[:SUBJECT_LENGTH_MAX],
        detail=_shown(request, body),
        status=response.status_code if response is not None else error.status if error else 500,
        code=error.code if error is not None else "",
    )
    await record(log, change)
    if error is not None:
        raise error
    assert response is not None
    return response


async def record(log: AuditLog, change: Change) -> None:
    """Write it down. What was refused is only logged where that fails: nothing was changed.

    Raises:
        Unavailable: something was changed, and it is not on record.
    """
    try:
        await log.record(change)
    except Unavailable:
        _log.error("not on record: %s", change)
        if change.status < 400:
            raise


def address_of(scope: Scope) -> str:
    """Where a request came from, as far as the socket says: a proxy's address is the proxy's."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _shown(request: Request, body: bytes) -> str:
    if not body or request.url.path.startswith(SECRETIVE):
        return ""
    if len(body) > DETAIL_LENGTH_MAX:
        return f"{len(body)} bytes"
    return body.decode(errors="replace")
