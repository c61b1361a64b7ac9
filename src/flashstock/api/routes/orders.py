"""Orders: what is to be packed, what left, what came back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies_orders import (
    mergeable_body,
    order_body,
    order_cursor,
    order_summary,
    return_body,
)
from flashstock.api.dispatch_routing import DispatchOf, OrderNoOf
from flashstock.api.documents_orders import (
    MergeablePage,
    OrderDocument,
    OrderPage,
    ReturnDocument,
    ReturnPage,
)
from flashstock.api.openapi import REPLAYED, problems
from flashstock.api.routing import (
    NO_BODY,
    IdempotencyKeyOf,
    OpsRoute,
    PrincipalOf,
    StorefrontRoute,
    answer,
)
from flashstock.api.schemas_orders import (
    MergeablePageRequest,
    OrderPageRequest,
    OrderReturnRequest,
    ReturnPageRequest,
    ShipRequest,
)
from flashstock.dispatch.return_rows import Disposition
from flashstock.dispatch.returns import ReturnOrder
from flashstock.dispatch.shipping import ShipOrder
from flashstock.model.ids import digest_of

looking = APIRouter(prefix="/v1/orders", tags=["orders"], route_class=StorefrontRoute)
orders = APIRouter(prefix="/v1/orders", tags=["orders"], route_class=OpsRoute)

_KEYED = (errors.IdempotencyKeyRequired, errors.IdempotencyMismatch)


@orders.get(
    "",
    summary="List orders",
    responses={200: {"model": OrderPage}, **problems(errors.InvalidRequest)},
)
async def list_orders(page: Annotated[OrderPageRequest, Query()], dispatch: DispatchOf) -> Response:
    """The oldest payment first: with `state=paid`, what is to be packed next."""
    rows = await dispatch.orders.page(page.filter())
    next_after = order_cursor(rows[-1]) if len(rows) == page.limit else None
    return answer({"items": [order_summary(row) for row in rows], "next_after": next_after})


@orders.get(
    "/mergeable",
    summary="List orders that may be sent together",
    responses={200: {"model": MergeablePage}, **problems(errors.InvalidRequest)},
)
async def list_mergeable(
    page: Annotated[MergeablePageRequest, Query()], dispatch: DispatchOf
) -> Response:
    """By buyer: those with two or more that are paid, unsent and not audited."""
    groups = await dispatch.orders.mergeable(page.after, page.limit)
    next_after = groups[-1].buyer if len(groups) == page.limit else None
    return answer({"items": [mergeable_body(group) for group in groups], "next_after": next_after})


@orders.get(
    "/returns",
    summary="List returns",
    responses={200: {"model": ReturnPage}, **problems(errors.InvalidRequest)},
)
async def list_returns(
    page: Annotated[ReturnPageRequest, Query()], dispatch: DispatchOf
) -> Response:
    """Oldest first. What is `done` is to be paid back to its buyer."""
    rows = await dispatch.orders.returns(page.state, page.after, page.limit)
    next_after = rows[-1].number if len(rows) == page.limit else None
    return answer({"items": [return_body(row) for row in rows], "next_after": next_after})


@looking.get(
    "/{order_no}",
    summary="Look at an order",
    responses={
        200: {"model": OrderDocument},
        **problems(errors.UnknownOrder, errors.InvalidRequest),
    },
)
async def get_order(order_no: OrderNoOf, dispatch: DispatchOf) -> Response:
    """What was bought, what left in which parcel, what came back."""
    return answer(order_body(await dispatch.orders.detail(order_no)))


@orders.post(
    "/{order_no}/ship",
    summary="Send an order, or a part of it",
    responses={
        200: {"model": OrderDocument, "headers": REPLAYED},
        **problems(
            errors.UnknownOrder,
            errors.UnknownLocation,
            errors.UnknownChannel,
            errors.NotShippable,
            errors.InsufficientStock,
            errors.SplitNeeded,
            *_KEYED,
            writes=True,
        ),
    },
)
async def ship_order(
    order_no: OrderNoOf,
    dispatch: DispatchOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
    body: ShipRequest | None = None,
) -> Response:
    """With its gifts, in one step: the units leave the book, the parcels are on record. It comes
    from the best location that has everything, and is split only where none has.
    """
    said = body or ShipRequest()
    wanted = ShipOrder(
        command_id=digest_of("ship", principal.name, key),
        actor=principal.name,
        order_no=order_no,
        quantity=said.quantity,
        region=said.region,
        location=said.location,
        channel=said.channel,
        allow_split=said.allow_split,
        tracking=said.tracking,
        carrier=said.carrier,
        parcels=tuple(parcel.wanted() for parcel in said.parcels or ()),
        merge=tuple(said.merge or ()),
    )
    shipped = await dispatch.shipping.ship(wanted)
    detail = await dispatch.orders.detail(order_no)
    return answer(order_body(detail), replayed=not shipped)


@orders.post(
    "/{order_no}/return",
    summary="Take units of an order back",
    responses={
        200: {"model": ReturnDocument, "headers": REPLAYED},
        **problems(
            errors.UnknownOrder,
            errors.UnknownLocation,
            errors.GroupNotFormed,
            errors.NotReturnable,
            errors.InsufficientStock,
            errors.UnknownPool,
            *_KEYED,
            writes=True,
        ),
    },
)
async def return_order(
    order_no: OrderNoOf,
    dispatch: DispatchOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
    body: OrderReturnRequest | None = None,
) -> Response:
    """Goods that had left come back to a `location`; units that never left can be sold again. After
    a 503 it is on record and finished by itself: the same key finds out.
    """
    said = body or OrderReturnRequest()
    wanted = ReturnOrder(
        command_id=digest_of("order return", principal.name, key),
        actor=principal.name,
        order_no=order_no,
        quantity=said.quantity,
        location=said.location,
        disposition=said.disposition or Disposition.AVAILABLE,
        reason=said.reason,
    )
    returned, replayed = await dispatch.returns.take_back(wanted)
    return answer(return_body(returned), replayed=replayed)


@orders.post(
    "/{order_no}/complete",
    dependencies=[NO_BODY],
    summary="Note that the buyer has got everything",
    responses={
        200: {"model": OrderDocument},
        **problems(errors.UnknownOrder, errors.NotShipped, writes=True),
    },
)
async def complete_order(order_no: OrderNoOf, dispatch: DispatchOf) -> Response:
    """Repeating it changes nothing."""
    return answer(order_body(await dispatch.orders.complete(order_no)))


@orders.post(
    "/{order_no}/audit",
    dependencies=[NO_BODY],
    summary="Note that an order was checked",
    responses={
        200: {"model": OrderDocument},
        **problems(errors.UnknownOrder, errors.NotShippable, writes=True),
    },
)
async def audit_order(
    order_no: OrderNoOf, dispatch: DispatchOf, principal: PrincipalOf
) -> Response:
    """From now on it is sent by itself. Repeating it changes nothing: the first one stands."""
    return answer(order_body(await dispatch.orders.audit(order_no, principal.name)))
