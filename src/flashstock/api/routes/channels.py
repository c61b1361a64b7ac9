"""Shops: who they are, what each may show, and what they sell by themselves."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies_channels import (
    channel_body,
    outside_order_body,
    policy_body,
    publication_body,
    states_body,
)
from flashstock.api.dispatch_routing import ChannelOf, ChannelsOf
from flashstock.api.documents_channels import (
    ChannelDocument,
    ChannelPage,
    DroppedPolicyDocument,
    OutsideOrderDocument,
    PolicyDocument,
    PolicyPage,
    PublicationDocument,
    SkuPublicationDocument,
    StatesDocument,
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
from flashstock.api.schemas import NO_CONTROL_CHARACTERS
from flashstock.api.schemas_channels import (
    ChannelPageRequest,
    ChannelRequest,
    OutsideOrderRequest,
    PolicyPageRequest,
    PolicyRequest,
    PublicationRequest,
    StatesRequest,
)
from flashstock.api.stock_routing import SkuOf
from flashstock.channels.outside_orders import OutsideLine, Told
from flashstock.channels.policies import COMPANY
from flashstock.channels.registry import Channel
from flashstock.channels.shares import Policy
from flashstock.model.ids import digest_of

channels = APIRouter(prefix="/v1/channels", tags=["channels"], route_class=OpsRoute)
publishing = APIRouter(prefix="/v1", tags=["channels"], route_class=StorefrontRoute)
policies = APIRouter(prefix="/v1/publication", tags=["channels"], route_class=OpsRoute)

ForeignNo = Annotated[
    str,
    Path(
        min_length=1,
        max_length=128,
        pattern=NO_CONTROL_CHARACTERS,
        examples=["T-2026-118"],
        description="The order's number in the shop.",
    ),
]
_TAKES: Final = (
    errors.UnknownChannel,
    errors.UnknownSku,
    errors.UnknownLocation,
    errors.InsufficientStock,
    errors.IdempotencyKeyRequired,
    errors.IdempotencyMismatch,
)


@channels.put(
    "/{channel}",
    summary="Tell what a shop is",
    responses={
        200: {"model": ChannelDocument},
        201: {"model": ChannelDocument, "description": "It is new."},
        **problems(errors.UnknownChannel, errors.UnknownLocation, writes=True),
    },
)
async def put_channel(channel: ChannelOf, body: ChannelRequest, shops: ChannelsOf) -> Response:
    """All of its fields are written. Where numbers depend on it, all shops are told anew."""
    wanted = Channel(
        channel,
        body.name,
        body.mode,
        body.weight,
        body.priority,
        tuple(sorted(set(body.locations or ()))),
    )
    found, created = await shops.channels.put(wanted)
    return answer(channel_body(found), 201 if created else 200)


@channels.get(
    "",
    summary="List shops",
    responses={200: {"model": ChannelPage}, **problems(errors.InvalidRequest)},
)
async def list_channels(
    page: Annotated[ChannelPageRequest, Query()], shops: ChannelsOf
) -> Response:
    """In order of their ids."""
    rows = await shops.channels.page(page.after, page.limit)
    next_after = rows[-1].id if len(rows) == page.limit else None
    return answer({"items": [channel_body(row) for row in rows], "next_after": next_after})


@channels.get(
    "/{channel}",
    summary="Look at a shop",
    responses={
        200: {"model": ChannelDocument},
        **problems(errors.UnknownChannel, errors.InvalidRequest),
    },
)
async def get_channel(channel: ChannelOf, shops: ChannelsOf) -> Response:
    """As it is now."""
    return answer(channel_body(await shops.channels.get(channel)))


@channels.put(
    "/{channel}/states",
    summary="Map a shop's order states to ours",
    responses={200: {"model": StatesDocument}, **problems(errors.UnknownChannel, writes=True)},
)
async def put_states(channel: ChannelOf, body: StatesRequest, shops: ChannelsOf) -> Response:
    """The mapping is replaced as a whole. Our own words are understood without it."""
    return answer(states_body(await shops.channels.put_states(channel, body.states)))


@channels.get(
    "/{channel}/states",
    summary="Look at the mapping of a shop's order states",
    responses={
        200: {"model": StatesDocument},
        **problems(errors.UnknownChannel, errors.InvalidRequest),
    },
)
async def get_states(channel: ChannelOf, shops: ChannelsOf) -> Response:
    """As it is now."""
    return answer(states_body(await shops.channels.states(channel)))


@publishing.get(
    "/channels/{channel}/publication",
    summary="What a shop may show, as far as it changed",
    responses={
        200: {"model": PublicationDocument},
        **problems(errors.UnknownChannel, errors.InvalidRequest),
    },
)
async def get_publication(
    channel: ChannelOf, page: Annotated[PublicationRequest, Query()], shops: ChannelsOf
) -> Response:
    """Only SKUs of which something changed since the cursor. Whoever follows his cursors knows
    what a full publication says.
    """
    return answer(publication_body(await shops.publication.page(channel, page.since, page.limit)))


@channels.post(
    "/{channel}/orders/{foreign_no}",
    summary="Take note of an order of a shop",
    responses={
        200: {"model": OutsideOrderDocument, "headers": REPLAYED},
        **problems(*_TAKES, writes=True),
    },
)
async def record_outside_order(
    channel: ChannelOf,
    foreign_no: ForeignNo,
    body: OutsideOrderRequest,
    shops: ChannelsOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
) -> Response:
    """Paid takes its units from what is available, closed gives them back, shipped is gone. What
    is told again, or too late, changes nothing.
    """
    lines = tuple(
        sorted(
            OutsideLine(line.sku, line.location or "", line.quantity) for line in body.lines or ()
        )
    )
    command_id = digest_of("channel order", principal.name, key)
    told = Told(channel, foreign_no, body.state, lines, command_id, principal.name)
    order, replayed = await shops.orders.record(told)
    return answer(outside_order_body(order), replayed=replayed)


@channels.get(
    "/{channel}/orders/{foreign_no}",
    summary="Look at an order of a shop",
    responses={
        200: {"model": OutsideOrderDocument},
        **problems(errors.UnknownChannel, errors.UnknownOrder, errors.InvalidRequest),
    },
)
async def get_outside_order(
    channel: ChannelOf, foreign_no: ForeignNo, shops: ChannelsOf
) -> Response:
    """As the shop told it last."""
    return answer(outside_order_body(await shops.orders.get(channel, foreign_no)))


@policies.put(
    "/policy",
    summary="Set the company's publication policy",
    responses={200: {"model": PolicyDocument}, **problems(errors.UnknownChannel, writes=True)},
)
async def put_company_policy(body: PolicyRequest, shops: ChannelsOf) -> Response:
    """It holds for every SKU that has no policy of its own; all shops are told anew."""
    await shops.policies.put(COMPANY, body.policy())
    return answer(policy_body(None, body.policy()))


@policies.get(
    "/policy",
    summary="Look at the company's publication policy",
    responses={200: {"model": PolicyDocument}, **problems(errors.InvalidRequest)},
)
async def get_company_policy(shops: ChannelsOf) -> Response:
    """As it is now."""
    return answer(policy_body(None, await shops.policies.get(COMPANY) or Policy()))


@policies.get(
    "/policies",
    summary="List the publication policies of SKUs",
    responses={200: {"model": PolicyPage}, **problems(errors.InvalidRequest)},
)
async def list_policies(page: Annotated[PolicyPageRequest, Query()], shops: ChannelsOf) -> Response:
    """Those that have one of their own, by SKU."""
    rows = await shops.policies.page(page.after, page.limit)
    next_after = rows[-1][0] if len(rows) == page.limit else None
    return answer({"items": [policy_body(*row) for row in rows], "next_after": next_after})


@policies.put(
    "/policies/{sku}",
    summary="Set the publication policy of a SKU",
    responses={
        200: {"model": PolicyDocument},
        **problems(errors.UnknownSku, errors.UnknownChannel, writes=True),
    },
)
async def put_sku_policy(sku: SkuOf, body: PolicyRequest, shops: ChannelsOf) -> Response:
    """It replaces the company's for this SKU; its shops are told anew."""
    await shops.policies.put(sku, body.policy())
    return answer(policy_body(sku, body.policy()))


@policies.get(
    "/policies/{sku}",
    summary="Look at the publication policy of a SKU",
    responses={
        200: {"model": PolicyDocument},
        **problems(errors.UnknownSku, errors.InvalidRequest),
    },
)
async def get_sku_policy(sku: SkuOf, shops: ChannelsOf) -> Response:
    """Its own, if it has one; `unknown_sku` where it has none."""
    policy = await shops.policies.get(sku)
    if policy is None:
        raise errors.UnknownSku(f"{sku!r} has no policy of its own", sku=sku)
    return answer(policy_body(sku, policy))


@policies.delete(
    "/policies/{sku}",
    dependencies=[NO_BODY],
    summary="Let the company's policy hold for a SKU again",
    responses={200: {"model": DroppedPolicyDocument}, **problems(errors.UnknownSku, writes=True)},
)
async def drop_sku_policy(sku: SkuOf, shops: ChannelsOf) -> Response:
    """Repeating it changes nothing."""
    return answer({"sku": sku, "dropped": await shops.policies.drop(sku)})


@policies.get(
    "/skus/{sku}",
    summary="What every shop may show of a SKU",
    responses={
        200: {"model": SkuPublicationDocument},
        **problems(errors.UnknownSku, errors.InvalidRequest),
    },
)
async def get_sku_publication(sku: SkuOf, shops: ChannelsOf) -> Response:
    """As of this moment."""
    return answer({"sku": sku, "channels": await shops.publication.of_sku(sku)})
