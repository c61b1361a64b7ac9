"""Descriptions of the lean routes for the OpenAPI document. Never mounted: ``hot`` serves them."""

from __future__ import annotations

from fastapi import APIRouter

from flashstock import errors
from flashstock.api.documents import BatchDocument, ReservationDocument
from flashstock.api.openapi import REPLAYED, problems
from flashstock.api.routes.reservations import REFUSALS, ReservationIdOf
from flashstock.api.routing import IdempotencyKeyOf
from flashstock.api.schemas import BatchRequest, ConfirmRequest, NothingBody, ReservationRequest

lean = APIRouter(tags=["reservations"])


@lean.post(
    "/v1/reservations",
    status_code=201,
    summary="Hold units for a buyer",
    responses={
        200: {
            "model": ReservationDocument,
            "headers": REPLAYED,
            "description": "A replay: the reservation this key made before, as it is now.",
        },
        201: {"model": ReservationDocument, "description": "Held until `expires_at`."},
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
async def reserve(body: ReservationRequest, key: IdempotencyKeyOf) -> None:
    """Repeating the request with the same key takes no further stock."""


@lean.post(
    "/v1/reservations/batch",
    summary="Hold units for many buyers",
    responses={200: {"model": BatchDocument}, **problems(writes=True)},
)
async def reserve_batch(body: BatchRequest) -> None:
    """Each item is decided by itself and answered as it would have been alone."""


@lean.post(
    "/v1/reservations/{reservation_id}/confirm",
    summary="Turn a hold into a sale",
    responses={
        200: {"model": ReservationDocument, "headers": REPLAYED},
        **problems(
            errors.UnknownReservation,
            errors.AlreadyConfirmed,
            errors.PaymentRefUsed,
            errors.RefundDue,
            errors.AlreadyCancelled,
            errors.NotRecorded,
            writes=True,
        ),
    },
)
async def confirm(reservation_id: ReservationIdOf, body: ConfirmRequest) -> None:
    """Committed in SQL when it is answered. Safe to repeat with the same payment.

    A payment after the deadline is served if stock is left. Otherwise, and after a cancellation,
    a refund is on record when the refusal arrives. A `receipt` does the same for a hold that was
    lost with the last moments of a `fast` pool; where the hold is known it does not matter.
    """


@lean.post(
    "/v1/reservations/{reservation_id}/cancel",
    summary="Let a hold go",
    responses={
        200: {"model": ReservationDocument, "headers": REPLAYED},
        **problems(
            errors.UnknownReservation,
            errors.AlreadyConfirmed,
            errors.ReservationExpired,
            errors.NotRecorded,
            writes=True,
        ),
    },
)
async def cancel(reservation_id: ReservationIdOf, body: NothingBody | None = None) -> None:
    """The units can be sold again. Safe to repeat."""
