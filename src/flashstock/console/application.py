"""The console as an ASGI application: its pages, its files, its rules for browsers."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from flashstock.api.asgi import ClientGone, Message, Receive, Scope, Send
from flashstock.api.auditing import (
    DETAIL_LENGTH_MAX,
    SUBJECT_LENGTH_MAX,
    address_of,
    record,
)
from flashstock.api.services import Services
from flashstock.browsers import PAGE_HEADERS
from flashstock.console.broadcast import Broadcaster
from flashstock.console.navigation import SECTIONS
from flashstock.console.pages import ROUTES
from flashstock.console.rendering import HERE, environment
from flashstock.console.routing import TOKEN_FIELD, Asked, error_page, new_key
from flashstock.console.sessions import PATH, Session, Sessions, came_over_tls
from flashstock.errors import FlashstockError, Unavailable, UnknownPath, WrongMethod
from flashstock.ledger.audit import Change

NOTE_COOKIE: Final = "flashstock_console_note"
NOTE_SECONDS: Final = 60
NOTE_LENGTH_MAX: Final = 1_000
HEADERS: Final = (
    *((name.encode(), value.encode()) for name, value in PAGE_HEADERS.items()),
    (b"x-frame-options", b"DENY"),
)

_log = logging.getLogger("flashstock.console")


class Console:
    """The pages below ``/console``.

    Args:
        services: those of the API of this process.
        secret: signs sessions; the same in all processes of the service.
    """

    prefix: Final = PATH

    def __init__(self, services: Services, secret: bytes) -> None:
        self.services = services
        self.sessions = Sessions(services.keyring, secret)
        self.broadcaster = Broadcaster()
        self.templates = environment()
        self._notes = URLSafeTimedSerializer(secret, salt="console note")
        self._app = Starlette(
            routes=[*ROUTES, Mount(f"{PATH}/static", StaticFiles(directory=HERE / "static"))],
            exception_handlers={
                FlashstockError: self._on_error,
                HTTPException: self._on_http_error,
                ClientGone: _on_client_gone,
                Exception: self._on_unexpected,
            },
        )
        self._app.state.console = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every answer carries what browsers must keep to."""
        is_static = scope["path"].startswith(f"{PATH}/static/")
        caching = b"public, max-age=3600" if is_static else b"no-store"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *HEADERS, (b"cache-control", caching)]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_guarded)

    def drain(self) -> None:
        """End every live stream."""
        self.broadcaster.drain()

    async def stop(self) -> None:
        """Stop watching."""
        await self.broadcaster.stop()

    def now_ms(self) -> int:
        """The clock of the service."""
        stock = self.services.stock
        return time.time_ns() // 1_000_000 if stock is None else stock.clock()

    def page(
        self,
        request: Request,
        session: Session,
        template: str,
        http_status: int = 200,
        **values: Any,
    ) -> HTMLResponse:
        """A whole page."""
        note = self._note_of(request)
        html = self.templates.get_template(template).render(
            principal=session.principal,
            is_open=self.sessions.open,
            token_field=TOKEN_FIELD,
            token=self.sessions.form_token(session),
            new_key=new_key,
            sections=[one for one in SECTIONS if one.is_there(self.services)],
            path=request.url.path,
            now_ms=self.now_ms(),
            note=note,
            **values,
        )
        response = HTMLResponse(html, http_status)
        if note is not None:
            response.delete_cookie(NOTE_COOKIE, path=PATH)
        return response

    def leave_note(
        self,
        session: Session,
        request: Request,
        response: Response,
        text: str,
        *,
        is_problem: bool,
    ) -> None:
        """Have the next page say this, once."""
        value = self._notes.dumps([text[:NOTE_LENGTH_MAX], is_problem])
        response.set_cookie(
            NOTE_COOKIE,
            str(value),
            max_age=NOTE_SECONDS,
            path=PATH,
            secure=session.over_tls or came_over_tls(request),
            httponly=True,
            samesite="strict",
        )

    async def put_on_record(
        self, asked: Asked, route: str, told: Mapping[str, str], error: FlashstockError | None
    ) -> None:
        """Note who changed what, as the API does.

        Raises:
            Unavailable: it was done, and is not on record.
        """
        if self.services.audit is None:
            return
        change = Change(
            actor=asked.principal.name,
            role=asked.principal.role.value,
            via="console",
            address=address_of(asked.request.scope),
            action=f"POST {route}",
            subject=asked.request.url.path[:SUBJECT_LENGTH_MAX],
            detail=json.dumps(told, ensure_ascii=False)[:DETAIL_LENGTH_MAX] if told else "",
            status=303 if error is None else error.status,
            code=error.code if error is not None else "",
        )
        await record(self.services.audit, change)

    def _note_of(self, request: Request) -> tuple[str, bool] | None:
        cookie = request.cookies.get(NOTE_COOKIE)
        if cookie is None:
            return None
        try:
            text, is_problem = self._notes.loads(cookie, max_age=NOTE_SECONDS)
        except BadSignature:
            return None
        return str(text), bool(is_problem)

    async def _on_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, FlashstockError)
        if error.status >= 500:
            _log.warning("%s: %s: %s", request.url.path, error.code, error.detail)
        response = error_page(self, request, error)
        if isinstance(error, Unavailable):
            response.headers["retry-after"] = str(error.retry_after_seconds)
        return response

    async def _on_http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            path = request.url.path
            fitting = [route for route in ROUTES if route.path_regex.match(path)]
            methods = {method for route in fitting for method in route.methods or ()}
            allowed = ", ".join(sorted(methods))
            response = error_page(self, request, WrongMethod(f"this page takes {allowed}"))
            response.headers["allow"] = allowed
            return response
        return error_page(self, request, UnknownPath("there is no such page"))

    async def _on_unexpected(self, request: Request, error: Exception) -> Response:  # noqa: ARG002
        """It is raised again, and logged with the request's id by the envelope."""
        return error_page(self, request, FlashstockError())


async def _on_client_gone(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return Response(status_code=499)
