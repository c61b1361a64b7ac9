"""FastAPI routes that are as strict as the lean ones, in the same order.

Before FastAPI sees a request: who asks (401), may they (403), how large is the body (413), does
it call itself JSON (415), is it (422). What the fields may be is then FastAPI's business.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar, Final

import orjson
from fastapi import Depends, Header
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from flashstock.api.asgi import Message, header_of, read_body
from flashstock.api.auditing import on_record
from flashstock.api.auth import Principal, Role
from flashstock.api.requests import idempotency_key, require_json
from flashstock.api.schemas import NothingBody
from flashstock.api.services import Services
from flashstock.api.strict_json import parse_json

BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
NO_STORE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def services_of(request: Request) -> Services:
    """The services of this process."""
    services: Services = request.app.state.services
    return services


def principal_of(request: Request) -> Principal:
    """Who is asking; the route has made sure of it."""
    principal: Principal = request.state.principal
    return principal


def _idempotency_key(
    request: Request,
    idempotency_key_header: Annotated[  # noqa: ARG001 (for the document; the bytes are read below)
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Required. 1 to 255 printable ASCII characters; the same one on a retry.",
        ),
    ] = None,
) -> str:
    return idempotency_key(header_of(request.scope, b"idempotency-key"))


def _no_body(body: NothingBody | None = None) -> None:
    """Accept ``{}`` or nothing."""


NO_BODY: Final = Depends(_no_body)
ServicesOf = Annotated[Services, Depends(services_of)]
PrincipalOf = Annotated[Principal, Depends(principal_of)]
IdempotencyKeyOf = Annotated[str, Depends(_idempotency_key)]


class StrictRoute(APIRoute):
    """A route that takes ``role``, and no body but strict JSON of a bounded size."""

    role: ClassVar[Role]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        role = self.role

        async def checked(request: Request) -> Response:
            keyring = services_of(request).keyring
            authorization = header_of(request.scope, b"authorization")
            request.state.principal = keyring.authorize(authorization, role)
            if request.method not in BODY_METHODS:
                return await handle(request)
            request, body = await _with_checked_body(request)
            audit = services_of(request).audit
            if audit is None or role is Role.STOREFRONT:
                return await handle(request)
            principal = principal_of(request)
            return await on_record(audit, request, principal, body, lambda: handle(request))

        return checked


class StorefrontRoute(StrictRoute):
    role = Role.STOREFRONT


class OpsRoute(StrictRoute):
    role = Role.OPS


class AdminRoute(StrictRoute):
    role = Role.ADMIN


async def _with_checked_body(request: Request) -> tuple[Request, bytes]:
    """The same request, its body read and found to be JSON, or to be none; and the body."""
    body = await read_body(request.scope, request.receive)
    if body:
        require_json(header_of(request.scope, b"content-type"))
        parse_json(body)
    receive = request.receive
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return Request(request.scope, replay), body


def answer(body: Any, status: int = 200, *, replayed: bool = False) -> Response:
    """A JSON answer that nobody may keep."""
    headers = {**NO_STORE, "Idempotency-Replayed": "true"} if replayed else NO_STORE
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
