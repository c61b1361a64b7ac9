"""Purchases and transfers: goods on their way."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies_stock import purchase_body, transfer_body
from flashstock.api.documents_stock import (
    PurchaseDocument,
    PurchasePage,
    TransferDocument,
    TransferPage,
)
from flashstock.api.openapi import REPLAYED, Responses, problems
from flashstock.api.routing import IdempotencyKeyOf, OpsRoute, PrincipalOf, answer
from flashstock.api.schemas_stock import (
    DispatchRequest,
    PurchasePageRequest,
    PurchaseReceiptRequest,
    PurchaseRequest,
    ReasonRequest,
    TransferPageRequest,
    TransferReceiptRequest,
    TransferRequest,
)
from flashstock.api.stock_routing import BookOf, DocumentId, asked, numbered_page
from flashstock.stockbook.purchases import Received
from flashstock.stockbook.transfers import Came

purchases = APIRouter(prefix="/v1/purchases", tags=["purchases"], route_class=OpsRoute)
transfers = APIRouter(prefix="/v1/transfers", tags=["transfers"], route_class=OpsRoute)

_KEYED = (errors.IdempotencyKeyRequired, errors.IdempotencyMismatch)
_NAMED = (errors.UnknownSku, errors.UnknownLocation)
_STEP = (errors.DocumentClosed, errors.InsufficientStock)
_PURCHASE: Final[Responses] = {200: {"model": PurchaseDocument, "headers": REPLAYED}}
_TRANSFER: Final[Responses] = {200: {"model": TransferDocument, "headers": REPLAYED}}


@purchases.post(
    "",
    status_code=201,
    summary="Expect what was bought",
    responses={
        **_PURCHASE,
        201: {"model": PurchaseDocument, "description": "Created."},
        **problems(*_NAMED, *_KEYED, writes=True),
    },
)
async def create_purchase(
    body: PurchaseRequest, book: BookOf, principal: PrincipalOf, key: IdempotencyKeyOf
) -> Response:
    """From now on it is in transit: the company owns it, and nobody can sell it."""
    purchase, replayed = await book.purchases.create(
        asked("purchase", principal, key),
        body.location,
        {line.sku: line.quantity for line in body.lines},
        supplier=body.supplier,
        reference=body.reference,
        expected_at_ms=body.expected_at or 0,
    )
    return answer(purchase_body(purchase), 200 if replayed else 201, replayed=replayed)


@purchases.get(
    "",
    summary="List purchases",
    responses={200: {"model": PurchasePage}, **problems(errors.InvalidRequest)},
)
async def list_purchases(page: Annotated[PurchasePageRequest, Query()], book: BookOf) -> Response:
    """Oldest first."""
    rows = await book.purchases.page(page.after, page.limit, page.state)
    return answer(numbered_page(rows, page.limit, purchase_body))


@purchases.get(
    "/{purchase}",
    summary="Look at a purchase",
    responses={
        200: {"model": PurchaseDocument},
        **problems(errors.UnknownPurchase, errors.InvalidRequest),
    },
)
async def get_purchase(purchase: DocumentId, book: BookOf) -> Response:
    """With what has come of each line, and what is still expected."""
    return answer(purchase_body(await book.purchases.get(purchase)))


@purchases.post(
    "/{purchase}/receive",
    summary="Receive a purchase, or a part of it",
    responses={
        **_PURCHASE,
        **problems(errors.UnknownPurchase, *_STEP, *_KEYED, writes=True),
    },
)
async def receive_purchase(
    purchase: DocumentId,
    book: BookOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
    body: PurchaseReceiptRequest | None = None,
) -> Response:
    """As often as something comes. Sound units cover virtual stock first and are available then;
    damaged ones are unsellable.
    """
    lines = body.lines if body else None
    came = None if lines is None else [Received(x.sku, x.quantity, x.damaged) for x in lines]
    request = asked("purchase-receipt", principal, key)
    found, replayed = await book.purchases.receive(request, purchase, came)
    return answer(purchase_body(found), replayed=replayed)


@purchases.post(
    "/{purchase}/cancel",
    summary="Expect no more of a purchase",
    responses={
        **_PURCHASE,
        **problems(errors.UnknownPurchase, errors.DocumentClosed, *_KEYED, writes=True),
    },
)
async def cancel_purchase(
    purchase: DocumentId,
    book: BookOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
    body: ReasonRequest | None = None,
) -> Response:
    """What was received stays; the rest is not in transit any more."""
    request = asked("purchase-cancellation", principal, key)
    reason = body.reason if body else ""
    found, replayed = await book.purchases.cancel(request, purchase, reason)
    return answer(purchase_body(found), replayed=replayed)


@transfers.post(
    "",
    status_code=201,
    summary="Move goods to another location",
    responses={
        **_TRANSFER,
        201: {"model": TransferDocument, "description": "Created."},
        **problems(*_NAMED, errors.InsufficientStock, *_KEYED, writes=True),
    },
)
async def create_transfer(
    body: TransferRequest, book: BookOf, principal: PrincipalOf, key: IdempotencyKeyOf
) -> Response:
    """The units are taken from what is available at the source, and stand there as outgoing."""
    transfer, replayed = await book.transfers.create(
        asked("transfer", principal, key),
        body.source,
        body.destination,
        {line.sku: line.quantity for line in body.lines},
        body.reference,
    )
    return answer(transfer_body(transfer), 200 if replayed else 201, replayed=replayed)


@transfers.get(
    "",
    summary="List transfers",
    responses={200: {"model": TransferPage}, **problems(errors.InvalidRequest)},
)
async def list_transfers(page: Annotated[TransferPageRequest, Query()], book: BookOf) -> Response:
    """Oldest first."""
    rows = await book.transfers.page(page.after, page.limit, page.state)
    return answer(numbered_page(rows, page.limit, transfer_body))


@transfers.get(
    "/{transfer}",
    summary="Look at a transfer",
    responses={
        200: {"model": TransferDocument},
        **problems(errors.UnknownTransfer, errors.InvalidRequest),
    },
)
async def get_transfer(transfer: DocumentId, book: BookOf) -> Response:
    """With how far each line has come."""
    return answer(transfer_body(await book.transfers.get(transfer)))


@transfers.post(
    "/{transfer}/dispatch",
    summary="Send a transfer, or a part of it, on its way",
    responses={
        **_TRANSFER,
        **problems(errors.UnknownTransfer, *_STEP, *_KEYED, writes=True),
    },
)
async def dispatch_transfer(
    transfer: DocumentId,
    book: BookOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
    body: DispatchRequest | None = None,
) -> Response:
    """From now on it is in neither location's stock, and in the company's."""
    lines = body.lines if body else None
    leaving = None if lines is None else {line.sku: line.quantity for line in lines}
    request = asked("transfer-dispatch", principal, key)
    found, replayed = await book.transfers.dispatch(request, transfer, leaving)
    return answer(transfer_body(found), replayed=replayed)


@transfers.post(
    "/{transfer}/receive",
    summary="Receive a transfer, or a part of it",
    responses={
        **_TRANSFER,
        **problems(errors.UnknownTransfer, *_STEP, *_KEYED, writes=True),
    },
)
async def receive_transfer(
    transfer: DocumentId,
    book: BookOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
    body: TransferReceiptRequest | None = None,
) -> Response:
    """Sound units cover virtual stock first; damaged ones are unsellable; lost ones leave the
    book.
    """
    lines = body.lines if body else None
    came = None if lines is None else [Came(x.sku, x.quantity, x.damaged, x.lost) for x in lines]
    request = asked("transfer-receipt", principal, key)
    found, replayed = await book.transfers.receive(request, transfer, came)
    return answer(transfer_body(found), replayed=replayed)


@transfers.post(
    "/{transfer}/cancel",
    summary="Keep what has not left",
    responses={
        **_TRANSFER,
        **problems(errors.UnknownTransfer, *_STEP, *_KEYED, writes=True),
    },
)
async def cancel_transfer(
    transfer: DocumentId,
    book: BookOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
    body: ReasonRequest | None = None,
) -> Response:
    """It is available again at the source. What is on its way still has to be received."""
    request = asked("transfer-cancellation", principal, key)
    reason = body.reason if body else ""
    found, replayed = await book.transfers.cancel(request, transfer, reason)
    return answer(transfer_body(found), replayed=replayed)
