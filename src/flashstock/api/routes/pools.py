"""Pools: create, look at, change. Shops may look; changing takes the ops role."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies import pool_body
from flashstock.api.documents import PoolDocument, PoolPage
from flashstock.api.openapi import REPLAYED, problems
from flashstock.api.routing import (
    NO_BODY,
    IdempotencyKeyOf,
    OpsRoute,
    PrincipalOf,
    ServicesOf,
    StorefrontRoute,
    answer,
)
from flashstock.api.schemas import PoolPageRequest
from flashstock.api.schemas_pools import AdjustRequest, PoolRequest
from flashstock.model.ids import POOL_ID_PATTERN
from flashstock.model.states import PoolState
from flashstock.service.views import PoolView

_POOL_ID: Final = re.compile(POOL_ID_PATTERN)


def _known_pool_id(
    pool: Annotated[
        str,
        Path(
            description="The pool's id.",
            examples=["campaign-1"],
            json_schema_extra={"pattern": POOL_ID_PATTERN},
        ),
    ],
) -> str:
    """Text that can't be an id names no pool: nobody needs to be asked."""
    if _POOL_ID.fullmatch(pool) is None:
        raise errors.UnknownPool(f"{pool[:100]!r} is not a pool id", pool=pool[:100])
    return pool


PoolIdOf = Annotated[str, Depends(_known_pool_id)]

looking = APIRouter(tags=["pools"], route_class=StorefrontRoute)
changing = APIRouter(tags=["pools"], route_class=OpsRoute)


@changing.post(
    "/v1/pools",
    status_code=201,
    summary="Create a pool",
    responses={
        200: {"model": PoolDocument, "description": "It exists, with the same settings."},
        201: {"model": PoolDocument, "description": "Created."},
        **problems(errors.PoolExists, errors.NotRecorded, writes=True),
    },
)
async def create_pool(body: PoolRequest, services: ServicesOf) -> Response:
    """Answered once it is committed in SQL. The units of its waves start locked."""
    view, created = await services.pools.create(body.id, body.pool_rules(), body.quantity)
    return answer(pool_body(view), 201 if created else 200)


@changing.get(
    "/v1/pools",
    summary="List pools",
    responses={200: {"model": PoolPage}, **problems(errors.InvalidRequest)},
)
async def list_pools(page: Annotated[PoolPageRequest, Query()], services: ServicesOf) -> Response:
    """In order of their ids, as SQL has them: a moment behind what `GET /v1/pools/{pool}` says."""
    rows = await services.queries.pools(page.after, page.limit)
    items = [pool_body(PoolView(row.id, row.rules, row.counters, 0)) for row in rows]
    next_after = rows[-1].id if len(rows) == page.limit else None
    return answer({"items": items, "next_after": next_after})


@looking.get(
    "/v1/pools/{pool}",
    summary="Look at a pool",
    responses={200: {"model": PoolDocument}, **problems(errors.UnknownPool, errors.InvalidRequest)},
)
async def get_pool(pool: PoolIdOf, services: ServicesOf) -> Response:
    """As of this instant."""
    return answer(pool_body(await services.pools.get(pool)))


@changing.post(
    "/v1/pools/{pool}/adjust",
    summary="Add units or take some back",
    responses={
        200: {"model": PoolDocument, "headers": REPLAYED},
        **problems(
            errors.UnknownPool,
            errors.InsufficientStock,
            errors.PoolOfBook,
            errors.IdempotencyKeyRequired,
            errors.IdempotencyMismatch,
            errors.NotRecorded,
            writes=True,
        ),
    },
)
async def adjust_pool(
    pool: PoolIdOf,
    body: AdjustRequest,
    services: ServicesOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
) -> Response:
    """Units are taken from what is available only, never from what buyers hold.

    A pool that is filled from the stock book is changed there only: add to its campaign, or end it.
    """
    await _refuse_if_of_book(services, pool)
    view, replayed = await services.pools.adjust(
        principal.name, key, pool, body.delta, body.lock_delta
    )
    return answer(pool_body(view), replayed=replayed)


@changing.post(
    "/v1/pools/{pool}/pause",
    dependencies=[NO_BODY],
    summary="Stop selling for now",
    responses={
        200: {"model": PoolDocument},
        **problems(errors.UnknownPool, errors.Ended, errors.NotRecorded, writes=True),
    },
)
async def pause_pool(pool: PoolIdOf, services: ServicesOf) -> Response:
    """Holds stay, and can be paid. Repeating it changes nothing."""
    return answer(pool_body(await services.pools.set_state(pool, PoolState.PAUSED)))


@changing.post(
    "/v1/pools/{pool}/resume",
    dependencies=[NO_BODY],
    summary="Sell again",
    responses={
        200: {"model": PoolDocument},
        **problems(errors.UnknownPool, errors.Ended, errors.NotRecorded, writes=True),
    },
)
async def resume_pool(pool: PoolIdOf, services: ServicesOf) -> Response:
    """The opposite of pausing. Repeating it changes nothing."""
    return answer(pool_body(await services.pools.set_state(pool, PoolState.OPEN)))


@changing.post(
    "/v1/pools/{pool}/close",
    dependencies=[NO_BODY],
    summary="Stop selling for good",
    responses={
        200: {"model": PoolDocument},
        **problems(errors.UnknownPool, errors.PoolOfBook, errors.NotRecorded, writes=True),
    },
)
async def close_pool(pool: PoolIdOf, services: ServicesOf) -> Response:
    """A closed pool stays closed; its holds can still be paid.

    A pool that is filled from the stock book closes with its campaign, or with a revision without
    its item: otherwise units that are added to it would vanish from sale.
    """
    await _refuse_if_of_book(services, pool)
    return answer(pool_body(await services.pools.set_state(pool, PoolState.CLOSED)))


async def _refuse_if_of_book(services: ServicesOf, pool: str) -> None:
    if services.stock is not None:
        await services.stock.campaigns.flights.refuse_if_of_book(pool)
