"""Reservations and carts, beside the lean routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies import cart_body, reservation_body
from flashstock.api.documents import CartDocument, ReservationDocument
from flashstock.api.openapi import REPLAYED, problems
from flashstock.api.routing import (
    IdempotencyKeyOf,
    PrincipalOf,
    ServicesOf,
    StorefrontRoute,
    answer,
)
from flashstock.api.schemas import CartRequest, ExtendRequest, ReturnRequest
from flashstock.dispatch.returns import ReturnOrder
from flashstock.model.ids import RESERVATION_ID_PATTERN, digest_of

ReservationIdOf = Annotated[
    str,
    Path(
        alias="reservation_id",
        description="As the reservation's answer gave it.",
        examples=["campaign-1~Jx0yYv3mDq8Qe1aZ"],
        json_schema_extra={"pattern": RESERVATION_ID_PATTERN},
    ),
]
REFUSALS = (
    errors.SoldOut,
    errors.BuyerLimit,
    errors.NotStarted,
    errors.Ended,
    errors.Paused,
    errors.NotEligible,
)

reservations = APIRouter(tags=["reservations"], route_class=StorefrontRoute)
carts = APIRouter(tags=["carts"], route_class=StorefrontRoute)


@reservations.get("/v1/reservations/batch", include_in_schema=False)
async def no_batch_to_look_at() -> Response:
    """Without this, ``batch`` would pass for a reservation id that is unknown."""
    raise errors.WrongMethod("a batch can only be sent: POST", allow=["POST"])


@reservations.get(
    "/v1/reservations/{reservation_id}",
    summary="Look at a reservation",
    responses={
        200: {"model": ReservationDocument},
        **problems(errors.UnknownReservation, errors.InvalidRequest),
    },
)
async def get_reservation(reservation_id: ReservationIdOf, services: ServicesOf) -> Response:
    """As of this instant: a hold past its deadline is expired, swept or not."""
    view = await services.reservations.get(reservation_id)
    return answer(reservation_body(view, services.signer))


@reservations.post(
    "/v1/reservations/{reservation_id}/extend",
    summary="Give the buyer more time",
    responses={
        200: {"model": ReservationDocument, "headers": REPLAYED},
        **problems(
            errors.UnknownReservation,
            errors.ReservationExpired,
            errors.AlreadyConfirmed,
            errors.AlreadyCancelled,
            errors.NotRecorded,
            writes=True,
        ),
    },
)
async def extend_reservation(
    reservation_id: ReservationIdOf, body: ExtendRequest, services: ServicesOf
) -> Response:
    """The deadline moves to `seconds` from now, never to an earlier moment."""
    done = await services.reservations.extend(reservation_id, body.seconds)
    return answer(reservation_body(done.view, services.signer), replayed=done.replayed)


@reservations.post(
    "/v1/reservations/{reservation_id}/return",
    summary="Take units of a sale back",
    responses={
        200: {"model": ReservationDocument, "headers": REPLAYED},
        **problems(
            errors.UnknownReservation,
            errors.NotConfirmed,
            errors.GroupNotFormed,
            errors.AlreadyReturned,
            errors.NotReturnable,
            errors.InsufficientStock,
            errors.IdempotencyKeyRequired,
            errors.IdempotencyMismatch,
            errors.ReservationExpired,
            errors.AlreadyCancelled,
            errors.AlreadyConfirmed,
            errors.NotRecorded,
            writes=True,
        ),
    },
)
async def return_reservation(
    reservation_id: ReservationIdOf,
    services: ServicesOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
    body: ReturnRequest | None = None,
) -> Response:
    """Without a quantity, all that are left come back. They can be sold again, or with
    `"restock": false` leave the pool. Either way the buyer may buy as many again. Where the stock
    book has filled the pool, goods that were shipped come back to a location instead:
    `POST /v1/orders/{order_no}/return`.
    """
    quantity = body.quantity if body is not None and body.quantity is not None else 0
    restock = body is None or body.restock
    if services.stock is not None:
        returns = services.stock.dispatch.returns
        order_no = await returns.booked_order(reservation_id)
        if order_no is not None:
            command_id = digest_of("return", principal.name, key)
            wanted = ReturnOrder(command_id, principal.name, order_no, quantity or None)
            replayed = await returns.withdraw(wanted, restock=restock)
            view = await services.reservations.get(reservation_id)
            return answer(reservation_body(view, services.signer), replayed=replayed)
    done = await services.reservations.return_sale(
        principal.name, key, reservation_id, quantity, restock=restock
    )
    return answer(reservation_body(done.view, services.signer), replayed=done.replayed)


@carts.post(
    "/v1/carts",
    status_code=201,
    summary="Hold several pools at once",
    responses={
        200: {"model": CartDocument, "headers": REPLAYED, "description": "A replay."},
        201: {"model": CartDocument, "description": "Every line is held."},
        **problems(
            *REFUSALS,
            errors.GroupOnly,
            errors.UnknownPool,
            errors.IdempotencyKeyRequired,
            errors.IdempotencyMismatch,
            errors.NotRecorded,
            writes=True,
        ),
    },
)
async def create_cart(
    body: CartRequest, services: ServicesOf, principal: PrincipalOf, key: IdempotencyKeyOf
) -> Response:
    """All lines or none. A refusal names every line that was refused, under `lines`."""
    lines = [(line.pool, line.quantity) for line in body.lines]
    attests = None if body.attests is None else body.attests.attests()
    cart = await services.carts.reserve(principal.name, key, body.buyer, lines, attests)
    status = 200 if cart.replayed else 201
    return answer(cart_body(cart, services.signer), status, replayed=cart.replayed)
