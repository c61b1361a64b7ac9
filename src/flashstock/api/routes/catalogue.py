"""SKUs and locations: what stock is kept of, and where."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies_stock import location_body, page_body, sku_body
from flashstock.api.documents_stock import LocationDocument, LocationPage, SkuDocument, SkuPage
from flashstock.api.openapi import problems
from flashstock.api.routing import OpsRoute, answer
from flashstock.api.schemas_stock import (
    LocationPageRequest,
    LocationRequest,
    SkuPageRequest,
    SkuRequest,
)
from flashstock.api.stock_routing import BookOf, LocationOf, SkuOf
from flashstock.model.stock import SKUS_RESERVED
from flashstock.stockbook.catalogue import Location, Region, Sku

catalogue = APIRouter(prefix="/v1", tags=["catalogue"], route_class=OpsRoute)


@catalogue.put(
    "/skus/{sku}",
    summary="Tell what a SKU is",
    responses={
        200: {"model": SkuDocument},
        201: {"model": SkuDocument, "description": "It is new."},
        **problems(errors.UnknownSku, writes=True),
    },
)
async def put_sku(sku: SkuOf, body: SkuRequest, book: BookOf) -> Response:
    """All of its fields are written. A SKU never goes away: movements name it for ever."""
    if sku in SKUS_RESERVED:
        problem = [{"field": "sku", "problem": f"{sku!r} is reserved"}]
        raise errors.InvalidRequest(f"{sku!r} is reserved", errors=problem)
    written = Sku(
        sku=sku,
        spu=body.spu,
        title=body.title,
        price_minor=body.price_minor,
        currency=body.currency or "",
        safety_stock=body.safety_stock,
        lead_time_days=body.lead_time_days,
    )
    found, created = await book.catalogue.put_sku(written)
    return answer(sku_body(found), 201 if created else 200)


@catalogue.get(
    "/skus",
    summary="List SKUs",
    responses={200: {"model": SkuPage}, **problems(errors.InvalidRequest)},
)
async def list_skus(page: Annotated[SkuPageRequest, Query()], book: BookOf) -> Response:
    """In order of their names."""
    rows = await book.catalogue.skus(page.after, page.limit, page.spu)
    next_after = rows[-1].sku if len(rows) == page.limit else None
    return answer(page_body([sku_body(row) for row in rows], next_after))


@catalogue.get(
    "/skus/{sku}",
    summary="Look at a SKU",
    responses={200: {"model": SkuDocument}, **problems(errors.UnknownSku, errors.InvalidRequest)},
)
async def get_sku(sku: SkuOf, book: BookOf) -> Response:
    """What it is; where its units are is at `GET /v1/stock/{sku}`."""
    return answer(sku_body(await book.catalogue.sku(sku)))


@catalogue.put(
    "/locations/{location}",
    summary="Tell what a location is",
    responses={
        200: {"model": LocationDocument},
        201: {"model": LocationDocument, "description": "It is new."},
        **problems(errors.UnknownLocation, writes=True),
    },
)
async def put_location(location: LocationOf, body: LocationRequest, book: BookOf) -> Response:
    """All of its fields are written, and the regions it serves with their levels."""
    written = Location(
        code=location,
        name=body.name,
        kind=body.kind,
        priority=body.priority,
        regions=tuple(Region(row.region, row.level) for row in body.regions or ()),
    )
    found, created = await book.catalogue.put_location(written)
    return answer(location_body(found), 201 if created else 200)


@catalogue.get(
    "/locations",
    summary="List locations",
    responses={200: {"model": LocationPage}, **problems(errors.InvalidRequest)},
)
async def list_locations(page: Annotated[LocationPageRequest, Query()], book: BookOf) -> Response:
    """In order of their codes."""
    rows = await book.catalogue.locations(page.after, page.limit)
    next_after = rows[-1].code if len(rows) == page.limit else None
    return answer(page_body([location_body(row) for row in rows], next_after))


@catalogue.get(
    "/locations/{location}",
    summary="Look at a location",
    responses={
        200: {"model": LocationDocument},
        **problems(errors.UnknownLocation, errors.InvalidRequest),
    },
)
async def get_location(location: LocationOf, book: BookOf) -> Response:
    """The regions it serves come with the fastest first."""
    return answer(location_body(await book.catalogue.location(location)))
