"""The stock book: movements, balances, and the proof that they agree."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies_stock import (
    balance_body,
    identity_body,
    movement_body,
    page_body,
    stock_body,
)
from flashstock.api.documents_stock import (
    AvailabilityDocument,
    BalanceDocument,
    BalancePage,
    DrawOrderDocument,
    IdentityDocument,
    MovementDocument,
    MovementPage,
    SkuStockDocument,
)
from flashstock.api.openapi import REPLAYED, Responses, problems
from flashstock.api.routing import (
    IdempotencyKeyOf,
    OpsRoute,
    PrincipalOf,
    ServicesOf,
    StorefrontRoute,
    answer,
)
from flashstock.api.schemas_stock import (
    BalancePageRequest,
    CommitmentRequest,
    DrawOrderRequest,
    IdentityRequest,
    MovementPageRequest,
    MovementRequest,
    ReverseRequest,
    VirtualRequest,
)
from flashstock.api.stock_routing import BookOf, LocationOf, SkuOf, asked
from flashstock.model.stock import MovementKind, StockState
from flashstock.stockbook.drawing import Wanted
from flashstock.stockbook.movement_queries import MovementFilter
from flashstock.stockbook.movements import Line

showing = APIRouter(prefix="/v1/stock", tags=["stock"], route_class=StorefrontRoute)
stock = APIRouter(prefix="/v1/stock", tags=["stock"], route_class=OpsRoute)
proving = APIRouter(prefix="/v1/ops/stock", tags=["operations"], route_class=OpsRoute)

Number = Annotated[int, Path(ge=1, le=2**53, examples=[17])]
_MOVED: Final[Responses] = {
    200: {"model": MovementDocument, "headers": REPLAYED, "description": "It was posted before."},
    201: {"model": MovementDocument, "description": "Posted."},
}
_MOVES = (
    errors.UnknownSku,
    errors.UnknownLocation,
    errors.InsufficientStock,
    errors.IdempotencyKeyRequired,
    errors.IdempotencyMismatch,
)


@stock.post(
    "/movements",
    status_code=201,
    summary="Move stock",
    responses={**_MOVED, **problems(*_MOVES, writes=True)},
)
async def post_movement(
    body: MovementRequest, book: BookOf, principal: PrincipalOf, key: IdempotencyKeyOf
) -> Response:
    """All lines or none, for ever: a mistake is corrected by a counter-movement.

    `lock`, `write_off` and `sold_elsewhere` need a reason. What is received covers virtual stock
    first. `docs/stock-book.md` has the table of kinds and states.
    """
    lines = [Line(x.sku, x.location, x.quantity, x.source, x.target) for x in body.lines]
    movement, replayed = await book.movements.post(
        asked("stock-movement", principal, key),
        MovementKind(body.kind),
        lines,
        body.reason,
        body.reference,
    )
    return answer(movement_body(movement), 200 if replayed else 201, replayed=replayed)


@stock.get(
    "/movements",
    summary="List movements",
    responses={200: {"model": MovementPage}, **problems(errors.InvalidRequest)},
)
async def list_movements(page: Annotated[MovementPageRequest, Query()], book: BookOf) -> Response:
    """In the order in which they were committed, the newest first unless told otherwise.

    A movement is listed where any of its lines is of the SKU and the location that are named.
    """
    which = MovementFilter(page.sku, page.location, page.kind, page.reference)
    newest = page.order == "newest"
    rows = await book.balances.movements(which, page.after, page.limit, newest=newest)
    next_after = rows[-1].number if len(rows) == page.limit else None
    return answer(page_body([movement_body(row) for row in rows], next_after))


@stock.get(
    "/movements/{number}",
    summary="Look at a movement",
    responses={
        200: {"model": MovementDocument},
        **problems(errors.UnknownMovement, errors.InvalidRequest),
    },
)
async def get_movement(number: Number, book: BookOf) -> Response:
    """As it was posted."""
    return answer(movement_body(await book.balances.movement(number)))


@stock.post(
    "/movements/{number}/reverse",
    status_code=201,
    summary="Take a movement back",
    responses={
        **_MOVED,
        **problems(errors.UnknownMovement, errors.NotReversible, *_MOVES, writes=True),
    },
)
async def reverse_movement(
    number: Number,
    body: ReverseRequest,
    book: BookOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
) -> Response:
    """Once, by a counter-movement, and only what was posted at `POST /v1/stock/movements`.

    Refused where the units are not where the movement took them any more.
    """
    request = asked("stock-reversal", principal, key)
    movement, replayed = await book.movements.reverse(request, number, body.reason)
    return answer(movement_body(movement), 200 if replayed else 201, replayed=replayed)


@stock.post(
    "/commitments",
    status_code=201,
    summary="Commit stock to an order",
    responses={**_MOVED, **problems(*_MOVES, writes=True)},
)
async def commit_stock(
    body: CommitmentRequest, book: BookOf, principal: PrincipalOf, key: IdempotencyKeyOf
) -> Response:
    """For an order that draws on stock outside pools: all lines or none.

    The states are used in the draw order; locked and unsellable units never are.
    """
    movement, replayed = await book.movements.commit(
        asked("stock-commitment", principal, key),
        body.order,
        [Wanted(line.sku, line.location, line.quantity) for line in body.lines],
        body.reason,
    )
    return answer(movement_body(movement), 200 if replayed else 201, replayed=replayed)


@stock.get(
    "",
    summary="List balances",
    responses={200: {"model": BalancePage}, **problems(errors.InvalidRequest)},
)
async def list_balances(page: Annotated[BalancePageRequest, Query()], book: BookOf) -> Response:
    """By SKU, then by location."""
    sku, _, location = page.after.rpartition("/")
    rows = await book.balances.page((sku, location), page.limit, page.location)
    full = len(rows) == page.limit
    next_after = f"{rows[-1].sku}/{rows[-1].location}" if full else None
    return answer(page_body([balance_body(row) for row in rows], next_after))


@stock.get(
    "/{sku}",
    summary="See where the units of a SKU are",
    responses={
        200: {"model": SkuStockDocument},
        **problems(errors.UnknownSku, errors.InvalidRequest),
    },
)
async def get_stock(sku: SkuOf, book: BookOf) -> Response:
    """At every location, in the whole company, and in pools, as of one moment."""
    return answer(stock_body(await book.balances.of_sku(sku)))


@showing.get(
    "/{sku}/availability",
    summary="See what of a SKU may be sold",
    responses={
        200: {"model": AvailabilityDocument},
        **problems(errors.UnknownSku, errors.InvalidRequest),
    },
)
async def get_availability(sku: SkuOf, book: BookOf) -> Response:
    """Over all locations, units in campaigns and pools left out."""
    units = await book.balances.available(sku)
    return answer({"sku": sku, "available": units, "sellable": units > 0})


@stock.put(
    "/{sku}/{location}/virtual",
    summary="Say how much may be sold ahead",
    responses={
        200: {"model": BalanceDocument},
        **problems(
            errors.UnknownSku, errors.UnknownLocation, errors.InsufficientStock, writes=True
        ),
    },
)
async def put_virtual(
    sku: SkuOf, location: LocationOf, body: VirtualRequest, book: BookOf, principal: PrincipalOf
) -> Response:
    """Virtual units become available, or are withdrawn, by a movement. Repeating it tops up what
    arrivals have covered since. Never below what buyers use of it.
    """
    balance = await book.balances.allow_virtual(
        sku,
        location,
        principal.name,
        allowance=body.allowance,
        oversell_ratio=body.oversell_ratio,
        reason=body.reason,
    )
    return answer(balance_body(balance))


@proving.get(
    "/draw-order",
    summary="See which states orders draw on",
    responses={200: {"model": DrawOrderDocument}, **problems()},
)
async def get_draw_order(book: BookOf) -> Response:
    """First to last."""
    states = await book.movements.draw_order()
    return answer({"states": [state.value for state in states]})


@proving.put(
    "/draw-order",
    summary="Set which states orders draw on",
    responses={200: {"model": DrawOrderDocument}, **problems(writes=True)},
)
async def put_draw_order(body: DrawOrderRequest, book: BookOf) -> Response:
    """For commitments from now on."""
    states = await book.movements.put_draw_order([StockState(name) for name in body.states])
    return answer({"states": [state.value for state in states]})


@proving.get(
    "/identity",
    summary="Prove the stock book",
    responses={200: {"model": IdentityDocument}, **problems(errors.InvalidRequest)},
)
async def stock_identity(
    query: Annotated[IdentityRequest, Query()], book: BookOf, services: ServicesOf
) -> Response:
    """Per location and for the company: what is available, what is there, what came and went.

    `deep` adds up every movement there ever was, which takes seconds where there are millions.
    """
    document = identity_body(await book.identity.prove(deep=query.deep))
    services.stock_watch.found(document)
    return answer(document)
