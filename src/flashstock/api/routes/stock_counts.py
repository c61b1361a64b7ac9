"""Stocktakes and lots: what a person finds on the shelf."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.auth import Role
from flashstock.api.bodies_stock import lot_body, stocktake_body
from flashstock.api.documents_stock import LotDocument, LotPage, StocktakeDocument, StocktakePage
from flashstock.api.openapi import REPLAYED, Responses, problems
from flashstock.api.routing import IdempotencyKeyOf, OpsRoute, PrincipalOf, ServicesOf, answer
from flashstock.api.schemas_stock import (
    ExtendLotRequest,
    LotPageRequest,
    LotRequest,
    ReasonRequest,
    ReleaseLotRequest,
    StocktakePageRequest,
    StocktakeRequest,
)
from flashstock.api.services import Services
from flashstock.api.stock_routing import BookOf, DocumentId, asked, numbered_page
from flashstock.stockbook.lots import Lot

stocktakes = APIRouter(prefix="/v1/stocktakes", tags=["stocktakes"], route_class=OpsRoute)
lots = APIRouter(prefix="/v1/lots", tags=["lots"], route_class=OpsRoute)

_DAY_MS: Final = 86_400_000
_KEYED = (errors.IdempotencyKeyRequired, errors.IdempotencyMismatch)
_NAMED = (errors.UnknownSku, errors.UnknownLocation)
_STOCKTAKE: Final[Responses] = {200: {"model": StocktakeDocument, "headers": REPLAYED}}
_LOT: Final[Responses] = {200: {"model": LotDocument, "headers": REPLAYED}}


@stocktakes.post(
    "",
    status_code=201,
    summary="Note what was counted",
    responses={
        **_STOCKTAKE,
        201: {"model": StocktakeDocument, "description": "Noted."},
        **problems(*_NAMED, *_KEYED, writes=True),
    },
)
async def count_stock(
    body: StocktakeRequest, book: BookOf, principal: PrincipalOf, key: IdempotencyKeyOf
) -> Response:
    """Units on hand, whatever their state. The differences are shown; nothing moves."""
    stocktake, replayed = await book.stocktakes.count(
        asked("stocktake", principal, key),
        body.location,
        {row.sku: row.counted for row in body.counts},
        body.reference,
    )
    return answer(stocktake_body(stocktake), 200 if replayed else 201, replayed=replayed)


@stocktakes.get(
    "",
    summary="List stocktakes",
    responses={200: {"model": StocktakePage}, **problems(errors.InvalidRequest)},
)
async def list_stocktakes(page: Annotated[StocktakePageRequest, Query()], book: BookOf) -> Response:
    """Oldest first."""
    rows = await book.stocktakes.page(page.after, page.limit, page.state)
    return answer(numbered_page(rows, page.limit, stocktake_body))


@stocktakes.get(
    "/{stocktake}",
    summary="Look at a stocktake",
    responses={
        200: {"model": StocktakeDocument},
        **problems(errors.UnknownStocktake, errors.InvalidRequest),
    },
)
async def get_stocktake(stocktake: DocumentId, book: BookOf) -> Response:
    """With its differences."""
    return answer(stocktake_body(await book.stocktakes.get(stocktake)))


@stocktakes.post(
    "/{stocktake}/approve",
    summary="Book the differences of a stocktake",
    responses={
        **_STOCKTAKE,
        **problems(
            errors.UnknownStocktake,
            errors.DocumentClosed,
            errors.OwnStocktake,
            errors.StocktakeOutdated,
            errors.InsufficientStock,
            *_KEYED,
            writes=True,
        ),
    },
)
async def approve_stocktake(
    stocktake: DocumentId,
    book: BookOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,  # noqa: ARG001 (a stocktake is approved once, whatever the key)
    body: ReasonRequest | None = None,
) -> Response:
    """By another key than the one that counted, or an admin's. Refused where goods of a counted
    SKU came or went since. What is missing leaves `available` and nothing else.
    """
    found, replayed = await book.stocktakes.approve(
        stocktake,
        principal.name,
        may_approve_own=principal.role.includes(Role.ADMIN),
        reason=body.reason if body else "",
    )
    return answer(stocktake_body(found), replayed=replayed)


@stocktakes.post(
    "/{stocktake}/reject",
    summary="Drop a stocktake",
    responses={
        **_STOCKTAKE,
        **problems(errors.UnknownStocktake, errors.DocumentClosed, writes=True),
    },
)
async def reject_stocktake(
    stocktake: DocumentId,
    book: BookOf,
    principal: PrincipalOf,
    body: ReasonRequest | None = None,
) -> Response:
    """Nothing moves. Repeating it changes nothing."""
    reason = body.reason if body else ""
    found, replayed = await book.stocktakes.reject(stocktake, principal.name, reason)
    return answer(stocktake_body(found), replayed=replayed)


@lots.post(
    "",
    status_code=201,
    summary="Guarantee units until a moment",
    responses={
        **_LOT,
        201: {"model": LotDocument, "description": "Noted."},
        **problems(*_NAMED, *_KEYED, writes=True),
    },
)
async def create_lot(
    body: LotRequest,
    book: BookOf,
    services: ServicesOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
) -> Response:
    """Nothing moves, neither now nor when its time is over: then a person decides."""
    lot, replayed = await book.lots.create(
        asked("lot", principal, key),
        body.sku,
        body.location,
        body.quantity,
        body.guaranteed_until,
        body.reference,
    )
    document = _body(lot, services)
    return answer(document, 200 if replayed else 201, replayed=replayed)


@lots.get(
    "",
    summary="List lots",
    responses={200: {"model": LotPage}, **problems(errors.InvalidRequest)},
)
async def list_lots(
    page: Annotated[LotPageRequest, Query()], book: BookOf, services: ServicesOf
) -> Response:
    """Oldest first; with `expires_within_days`, those that somebody has to look after."""
    if page.expires_within_days is None:
        rows = await book.lots.page(page.after, page.limit, page.state)
    else:
        before_ms = _now_ms(services) + page.expires_within_days * _DAY_MS
        rows = await book.lots.expiring(before_ms, page.after, page.limit)
    return answer(numbered_page(rows, page.limit, lambda lot: _body(lot, services)))


@lots.get(
    "/{lot}",
    summary="Look at a lot",
    responses={200: {"model": LotDocument}, **problems(errors.UnknownLot, errors.InvalidRequest)},
)
async def get_lot(lot: DocumentId, book: BookOf, services: ServicesOf) -> Response:
    """With whether its time is over."""
    return answer(_body(await book.lots.get(lot), services))


@lots.post(
    "/{lot}/release",
    summary="Take out of sale what is left of a lot",
    responses={
        **_LOT,
        **problems(
            errors.UnknownLot,
            errors.DocumentClosed,
            errors.LotStillValid,
            *_KEYED,
            writes=True,
        ),
    },
)
async def release_lot(
    lot: DocumentId,
    book: BookOf,
    services: ServicesOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
    body: ReleaseLotRequest | None = None,
) -> Response:
    """Once its time is over. It becomes unsellable, at most as much as is available: what buyers
    hold, what is committed or in a campaign stays.
    """
    wanted = body or ReleaseLotRequest()
    request = asked("lot-release", principal, key)
    found, replayed = await book.lots.release(request, lot, wanted.quantity, wanted.reason)
    return answer(_body(found, services), replayed=replayed)


@lots.post(
    "/{lot}/extend",
    summary="Guarantee a lot for longer",
    responses={
        **_LOT,
        **problems(errors.UnknownLot, errors.DocumentClosed, errors.LotStillValid, writes=True),
    },
)
async def extend_lot(
    lot: DocumentId, body: ExtendLotRequest, book: BookOf, services: ServicesOf
) -> Response:
    """To a later moment only. Repeating it changes nothing."""
    found, unchanged = await book.lots.extend(lot, body.guaranteed_until)
    return answer(_body(found, services), replayed=unchanged)


def _body(lot: Lot, services: Services) -> dict[str, Any]:
    return lot_body(lot, _now_ms(services))


def _now_ms(services: Services) -> int:
    if services.stock is None:
        raise errors.UnknownPath
    return services.stock.clock()
