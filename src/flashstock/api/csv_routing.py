"""Routes that take a file: as strict as those that take JSON, and in the same order."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, ClassVar, Final

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from flashstock.api.asgi import header_of, read_body
from flashstock.api.auditing import on_record
from flashstock.api.auth import Role
from flashstock.api.routing import services_of
from flashstock.errors import UnsupportedMediaType

_CSV_TYPE: Final = re.compile(
    rb"text/csv\s*(;\s*(charset=\"?utf-8\"?|header=\"?present\"?)\s*)*", re.IGNORECASE
)
CSV_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "UTF-8, at most 32 MiB. The first line names the columns.",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}
"""For the document: FastAPI itself knows of JSON only."""
CSV_ANSWER: Final[dict[str, Any]] = {"text/csv": {"schema": {"type": "string"}}}


class CsvRoute(APIRoute):
    """A route that takes the ops role and a body of CSV, of a bounded size."""

    role: ClassVar[Role] = Role.OPS

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        role = self.role

        async def checked(request: Request) -> Response:
            keyring = services_of(request).keyring
            authorization = header_of(request.scope, b"authorization")
            request.state.principal = keyring.authorize(authorization, role)
            body = await read_body(request.scope, request.receive)
            content_type = header_of(request.scope, b"content-type") or b""
            if _CSV_TYPE.fullmatch(content_type.strip(b" \t")) is None:
                raise UnsupportedMediaType("send the body as Content-Type: text/csv (UTF-8)")
            request.state.csv_body = body
            audit = services_of(request).audit
            if audit is None:
                return await handle(request)
            principal = request.state.principal
            return await on_record(audit, request, principal, body, lambda: handle(request))

        return checked


def _body_of(request: Request) -> bytes:
    body: bytes = request.state.csv_body
    return body


CsvBodyOf = Annotated[bytes, Depends(_body_of)]
