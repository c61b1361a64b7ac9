"""From exceptions to problems, for everything that goes through FastAPI."""

from __future__ import annotations

import logging

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from flashstock.api.asgi import ClientGone, Scope
from flashstock.api.problems import problem_document, problem_response_parts
from flashstock.api.schemas import invalid_request
from flashstock.errors import (
    BodyTooLarge,
    FlashstockError,
    InvalidRequest,
    UnknownPath,
    UnsupportedMediaType,
    WrongMethod,
)

PROBLEM_CODE: str = "flashstock.problem_code"
"""Where in the scope the code of a problem is left for the metrics."""

_log = logging.getLogger("flashstock.api")


def problem_response(scope: Scope, error: FlashstockError) -> Response:
    """The problem as a response; its code is noted in the scope."""
    scope[PROBLEM_CODE] = problem_document(error)["code"]
    status, headers, body = problem_response_parts(error)
    response = Response(body, status)
    response.raw_headers = headers
    return response


async def _flashstock_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FlashstockError)
    if error.status >= 500:
        _log.warning("%s %r: %s: %s", request.method, request.url.path, error.code, error.detail)
    return problem_response(request.scope, error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(request.scope, invalid_request(error.errors()))


async def _framework_error(request: Request, error: Exception) -> Response:
    """What Starlette itself has to say: mostly that it found no route."""
    assert isinstance(error, HTTPException)
    return problem_response(request.scope, _translated(request, error))


def _translated(request: Request, error: HTTPException) -> FlashstockError:
    path = request.url.path
    if error.status_code in (404, 405):
        allowed = request.app.allowed_methods(path)
        if not allowed and error.status_code == 405:
            allowed = sorted((error.headers or {}).get("Allow", "").split(", "))
        if allowed:
            detail = f"{path[:100]} takes {', '.join(allowed)}"
            return WrongMethod(detail, allow=allowed)
        return UnknownPath(f"there is nothing at {path[:100]!r}")
    if error.status_code == 413:
        return BodyTooLarge()
    if error.status_code == 415:
        return UnsupportedMediaType()
    if error.status_code < 500:
        return InvalidRequest(str(error.detail))
    return FlashstockError(str(error.detail))


async def _client_gone(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Nobody reads it; the status is the one that logs elsewhere use for this."""
    return Response(status_code=499)


async def _unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """The answer to what nobody expected. It is raised again, and logged by the envelope."""
    return problem_response(request.scope, FlashstockError())


def add_exception_handlers(app: FastAPI) -> None:
    """Register all of them; no error reaches a caller in another form."""
    app.add_exception_handler(FlashstockError, _flashstock_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework_error)
    app.add_exception_handler(ClientGone, _client_gone)
    app.add_exception_handler(Exception, _unexpected)
