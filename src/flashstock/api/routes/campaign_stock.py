"""What campaigns stand on: bundles, the second payment of a presale, units in flight."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies_campaigns import balance_paid_body, bundle_body, flight_body
from flashstock.api.dispatch_routing import OrderNoOf
from flashstock.api.documents_campaigns import (
    BundleDocument,
    BundlePage,
    FlightDocument,
    FlightPage,
    OrderBalanceDocument,
)
from flashstock.api.openapi import REPLAYED, problems
from flashstock.api.routes.campaigns import CampaignsOf
from flashstock.api.routing import OpsRoute, PrincipalOf, answer
from flashstock.api.schemas_campaigns import (
    BalanceRequest,
    BundlePageRequest,
    BundleRequest,
    FlightPageRequest,
    RetryRequest,
)
from flashstock.api.stock_routing import SkuOf

bundles = APIRouter(prefix="/v1/bundles", tags=["bundles"], route_class=OpsRoute)
balances = APIRouter(prefix="/v1/orders", tags=["orders"], route_class=OpsRoute)
flights = APIRouter(prefix="/v1/ops/stock", tags=["operations"], route_class=OpsRoute)


@bundles.post(
    "",
    status_code=201,
    summary="Make a bundle",
    responses={
        200: {"model": BundleDocument, "description": "It exists, made of the same."},
        201: {"model": BundleDocument, "description": "Made."},
        **problems(errors.UnknownSku, errors.BundleExists, writes=True),
    },
)
async def create_bundle(
    body: BundleRequest, service: CampaignsOf, principal: PrincipalOf
) -> Response:
    """A SKU that campaigns sell as one; setting it aside sets its components aside."""
    components = {component.sku: component.quantity for component in body.components}
    bundle, new = await service.bundles.create(body.sku, components, principal.name)
    return answer(bundle_body(bundle), 201 if new else 200)


@bundles.get(
    "",
    summary="List bundles",
    responses={200: {"model": BundlePage}, **problems(errors.InvalidRequest)},
)
async def list_bundles(
    page: Annotated[BundlePageRequest, Query()], service: CampaignsOf
) -> Response:
    """In order of their SKUs."""
    rows = await service.bundles.page(page.after, page.limit)
    next_after = rows[-1].sku if len(rows) == page.limit else None
    return answer({"items": [bundle_body(row) for row in rows], "next_after": next_after})


@bundles.get(
    "/{sku}",
    summary="Look at a bundle",
    responses={
        200: {"model": BundleDocument},
        **problems(errors.UnknownBundle, errors.UnknownSku),
    },
)
async def get_bundle(sku: SkuOf, service: CampaignsOf) -> Response:
    """What it is made of."""
    return answer(bundle_body(await service.bundles.get(sku)))


@balances.post(
    "/{order_no}/balance",
    summary="Record the second payment of a presale",
    responses={
        200: {"model": OrderBalanceDocument, "headers": REPLAYED},
        **problems(
            errors.UnknownOrder,
            errors.NoBalanceDue,
            errors.BalancePaid,
            errors.PaymentRefUsed,
            writes=True,
        ),
    },
)
async def pay_balance(
    order_no: OrderNoOf,
    body: BalanceRequest,
    service: CampaignsOf,
    principal: PrincipalOf,
) -> Response:
    """Once. Repeating it with the same reference changes nothing.

    The amount is the price of the revision at the time of the order, less the deposit.
    """
    balance, new = await service.balances.pay(order_no, body.payment_ref, principal.name)
    return answer(balance_paid_body(balance), replayed=not new)


@flights.get(
    "/in-flight",
    summary="Units between the book and the pools",
    responses={200: {"model": FlightPage}, **problems(errors.InvalidRequest)},
)
async def list_flights(
    page: Annotated[FlightPageRequest, Query()], service: CampaignsOf
) -> Response:
    """Commands that have not arrived, oldest first, and the units that are in neither meanwhile."""
    created_at_ms, _, command_id = page.after.partition("/")
    after = (int(created_at_ms), command_id) if created_at_ms else (-1, "")
    rows = await service.flights.page(after, page.limit)
    last = rows[-1].command if len(rows) == page.limit else None
    next_after = f"{last.created_at_ms}/{last.id}" if last else None
    return answer({"items": [flight_body(row) for row in rows], "next_after": next_after})


@flights.post(
    "/in-flight/retry",
    summary="Let a blocked command go on",
    responses={200: {"model": FlightDocument}, **problems(errors.UnknownPoolCommand, writes=True)},
)
async def retry_command(body: RetryRequest, service: CampaignsOf) -> Response:
    """For when what stood in its way was mended. One that is not blocked stays as it is."""
    command = await service.flights.try_again(body.command)
    if command is None:
        raise errors.UnknownPoolCommand(f"no command {body.command!r} is under way")
    (flight,) = [f for f in await service.flights.of_pools([command.pool]) if f.command == command]
    return answer(flight_body(flight))
