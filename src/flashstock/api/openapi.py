"""The OpenAPI document: FastAPI's own, plus problems in their real form and the lean routes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from starlette.routing import BaseRoute

from flashstock import __version__, errors
from flashstock.api.documents import Problem
from flashstock.api.problems import PROBLEM_MEDIA_TYPE, problem_document
from flashstock.api.schemas import IdempotencyKey
from flashstock.errors import (
    BodyTooLarge,
    ConfigurationError,
    FlashstockError,
    Forbidden,
    InvalidRequest,
    Overloaded,
    Recovering,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    WrongMethod,
)

TITLE: Final = "flashstock"
DESCRIPTION: Final = """\
Flash-sale reservations that never oversell and never forget.

Every error is a problem document (RFC 9457) with a stable `code`. After a 503, or no answer at
all, send the same request with the same `Idempotency-Key` again: it finds out what became of it.
"""
TAGS: Final = [
    {"name": "reservations", "description": "Hold units, pay for them, let them go."},
    {"name": "carts", "description": "Several pools at once, all or nothing."},
    {"name": "groups", "description": "Buyers who buy together, or not at all."},
    {"name": "pools", "description": "What buyers reserve from."},
    {"name": "catalogue", "description": "SKUs, and the locations that keep them."},
    {"name": "stock", "description": "Where every unit is, and how it came there."},
    {"name": "purchases", "description": "Bought, and in transit until received."},
    {"name": "transfers", "description": "From one location to another."},
    {"name": "stocktakes", "description": "Count, compare, approve."},
    {"name": "lots", "description": "Units that are guaranteed until a moment."},
    {"name": "channels", "description": "Many shops, one stock: what each may show."},
    {"name": "campaigns", "description": "What is sold for how long to whom, and its stock."},
    {"name": "bundles", "description": "Several SKUs that are sold as one."},
    {"name": "orders", "description": "What is to be packed, what left, what came back."},
    {"name": "webhooks", "description": "Who is told what, and what became of it."},
    {"name": "warnings", "description": "What is wrong at present, and what to do about stock."},
    {"name": "statistics", "description": "What became of requests, minute by minute."},
    {"name": "imports", "description": "Files in and out, as CSV."},
    {"name": "payments", "description": "What gateways say, compared with what is on record."},
    {"name": "operations", "description": "Proof, and what needs a person."},
    {"name": "keys", "description": "Who may talk to this service."},
    {"name": "health", "description": "For machines that watch."},
]
REPLAYED: Final[dict[str, Any]] = {
    "Idempotency-Replayed": {
        "description": "`true` where an earlier request with this key did the work.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
_IDEMPOTENCY_KEY: Final = TypeAdapter(IdempotencyKey).json_schema()
_UNDESCRIBED: Final = "Successful Response"
_REFERENCE: Final = {"$ref": "#/components/schemas/Problem"}
_READING: Final = (Unauthorized, Forbidden, Recovering, Unavailable)
_WRITING: Final = (*_READING, BodyTooLarge, UnsupportedMediaType, InvalidRequest, Overloaded)

Responses = dict[int | str, dict[str, Any]]


def answers(root: type[FlashstockError]) -> Iterator[type[FlashstockError]]:
    """Every error that can be an HTTP answer, from this one down."""
    yield root
    for child in root.__subclasses__():
        # A store's own kinds of trouble share the code of what they are a kind of.
        if child is not ConfigurationError and child.__module__.startswith(errors.__name__):
            yield from answers(child)


def problems(*errors: type[FlashstockError], writes: bool = False) -> Responses:
    """Response entries for these errors, and for those that every such route shares."""
    by_status: dict[int, list[type[FlashstockError]]] = defaultdict(list)
    for error in (*errors, *(_WRITING if writes else _READING)):
        if error not in by_status[error.status]:
            by_status[error.status].append(error)
    return {status: _response(kinds) for status, kinds in sorted(by_status.items())}


def _response(kinds: list[type[FlashstockError]]) -> dict[str, Any]:
    examples = {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds}
    response: dict[str, Any] = {
        "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
        "content": {PROBLEM_MEDIA_TYPE: {"schema": _REFERENCE, "examples": examples}},
    }
    headers = _headers(kinds[0])
    if headers:
        response["headers"] = headers
    return response


def _headers(kind: type[FlashstockError]) -> dict[str, Any]:
    if issubclass(kind, Unavailable):
        return {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    if issubclass(kind, Unauthorized):
        return {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`."}}
    return {}


def build_document(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document of all these routes, mounted or only described."""
    document = get_openapi(
        title=TITLE, version=__version__, description=DESCRIPTION, routes=routes, tags=TAGS
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `fsk_…`"}
    }
    components["examples"] = {
        kind.code: {"summary": kind.title, "value": problem_document(kind())}
        for kind in answers(FlashstockError)
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete(operation, secured=path.startswith("/v1/"))
    return document


def _complete(operation: dict[str, Any], *, secured: bool) -> None:
    """Add what every operation has, and say what FastAPI could not know."""
    responses = operation["responses"]
    for response in responses.values():
        if response["description"] == _UNDESCRIBED:
            response["description"] = "Done."
    responses.setdefault("405", _response([WrongMethod]))
    responses.setdefault("500", _response([FlashstockError]))
    if secured:
        operation["security"] = [{"bearer": []}]
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == "Idempotency-Key":
            parameter["required"] = True
            parameter["schema"] = _IDEMPOTENCY_KEY
