"""What happens around every request that is not lean: an id, a size limit, a count, a last resort.

Pure ASGI. Starlette's own middleware class would run each request in a task of its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from flashstock.api import request_ids
from flashstock.api.asgi import (
    ASGIHandler,
    ClientGone,
    Message,
    Receive,
    Scope,
    Send,
    check_content_length,
)
from flashstock.api.counters import HotCounters
from flashstock.api.handlers import PROBLEM_CODE
from flashstock.api.problems import problem_document, problem_response_parts
from flashstock.errors import FlashstockError, Unavailable

_OTHER: Final = "other"
"""The route label of paths that do not exist: strangers must not make up label values."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = logging.getLogger("flashstock.api")


class Envelope:
    """Wraps the FastAPI application.

    Every answer carries ``X-Request-Id``: the caller's own where it sent a sane one. ``HEAD`` is
    answered wherever ``GET`` is. An exception that nobody expected is logged with that id and
    answered with a 500 that shows nothing of it.
    """

    def __init__(self, app: ASGIHandler, counters: HotCounters) -> None:
        self._app = app
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; connections of other kinds pass as they are."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method: str = scope["method"]
        head_only = method == "HEAD"
        scope = {**scope, "method": "GET"} if head_only else scope
        request_id = _request_id(scope)
        status = 0
        token = request_ids.current.set(request_id.decode())

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (request_ids.HEADER, request_id)]
                message = {**message, "headers": headers}
            elif head_only and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            check_content_length(scope)
            await self._app(scope, receive, send_marked)
        except FlashstockError as error:
            await _send_problem(scope, send_marked, error)
        except ClientGone:
            return
        except asyncio.CancelledError:
            if status:
                raise
            # A server that goes down has no more time for it; its own answer would be a 500.
            await _send_problem(scope, send_marked, Unavailable("the request was cut off"))
        except Exception:  # noqa: BLE001 (the last resort: logged, and answered with a 500)
            shown = request_id.decode()
            _log.exception("request %s: %s %r failed", shown, method, scope["path"])
            if status == 0:
                await _send_problem(scope, send_marked, FlashstockError())
        finally:
            request_ids.current.reset(token)
            route = getattr(scope.get("route"), "path", _OTHER)
            known = method if method in _METHODS else _OTHER
            self._counters.answered(known, route, status, scope.get(PROBLEM_CODE, ""))


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == request_ids.HEADER and (sent := request_ids.sane(value)):
            return sent
    return request_ids.new()


async def _send_problem(scope: Scope, send: Send, error: FlashstockError) -> None:
    scope[PROBLEM_CODE] = problem_document(error)["code"]
    status, headers, body = problem_response_parts(error)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
