"""API keys. The command line does the same without a running service."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from starlette.responses import Response

from flashstock import errors
from flashstock.api.auth import KEY_NAME_PATTERN, key_hash, new_api_key
from flashstock.api.bodies import format_time
from flashstock.api.documents import KeyDocument, KeyList, NewKeyDocument
from flashstock.api.openapi import problems
from flashstock.api.routing import AdminRoute, ServicesOf, answer
from flashstock.api.schemas import KeyRequest
from flashstock.ledger.stored import ApiKey

_NAME: Final = re.compile(KEY_NAME_PATTERN)

keys = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=AdminRoute)


@keys.post(
    "",
    status_code=201,
    summary="Make an API key",
    responses={201: {"model": NewKeyDocument}, **problems(errors.KeyExists, writes=True)},
)
async def create_key(body: KeyRequest, services: ServicesOf) -> Response:
    """The key is in this answer and nowhere else. Other processes know it within seconds."""
    key = new_api_key()
    created_at_ms = _now_ms()
    added = await services.queries.add_api_key(
        body.name, body.role.value, key_hash(key), created_at_ms
    )
    if not added:
        raise errors.KeyExists(f"there is, or was, a key named {body.name!r}", name=body.name)
    await services.keyring.refresh(services.queries)
    document = {
        "name": body.name,
        "role": body.role.value,
        "created_at": format_time(created_at_ms),
        "revoked_at": None,
        "key": key,
    }
    return answer(document, 201)


@keys.get(
    "",
    summary="List API keys",
    responses={200: {"model": KeyList}, **problems()},
)
async def list_keys(services: ServicesOf) -> Response:
    """Names and roles, revoked ones included; never the keys."""
    rows = await services.queries.api_keys()
    return answer({"items": [_key(row) for row in rows]})


@keys.delete(
    "/{name}",
    summary="Revoke an API key",
    responses={
        200: {"model": KeyDocument},
        **problems(errors.UnknownKey, errors.InvalidRequest),
    },
)
async def revoke_key(
    name: Annotated[str, Path(examples=["shop"], json_schema_extra={"pattern": KEY_NAME_PATTERN})],
    services: ServicesOf,
) -> Response:
    """Refused from now on; in other processes within seconds. Repeating it changes nothing."""
    if _NAME.fullmatch(name) is not None:
        await services.queries.revoke_api_key(name, _now_ms())
        await services.keyring.refresh(services.queries)
        for row in await services.queries.api_keys():
            if row.name == name:
                return answer(_key(row))
    raise errors.UnknownKey(f"there is no key named {name[:100]!r}")


def _key(row: ApiKey) -> dict[str, Any]:
    return {
        "name": row.name,
        "role": row.role,
        "created_at": format_time(row.created_at_ms),
        "revoked_at": format_time(row.revoked_at_ms) if row.revoked_at_ms else None,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
