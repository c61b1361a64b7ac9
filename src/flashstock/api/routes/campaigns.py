"""Campaigns: write down, submit, approve, watch, end. Shops see what a page needs."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.auth import Role
from flashstock.api.bodies_campaigns import (
    campaign_body,
    campaign_line_body,
    gift_body,
    public_body,
    snapshot_body,
    step_body,
)
from flashstock.api.campaign_services import CampaignServices
from flashstock.api.documents_campaigns import (
    CampaignDocument,
    CampaignPage,
    GivenGiftPage,
    PublicCampaignDocument,
    SnapshotDocument,
    StepPage,
)
from flashstock.api.openapi import REPLAYED, Responses, problems
from flashstock.api.routing import (
    NO_BODY,
    IdempotencyKeyOf,
    OpsRoute,
    PrincipalOf,
    ServicesOf,
    StorefrontRoute,
    answer,
)
from flashstock.api.schemas_campaigns import (
    AddRequest,
    CampaignEditRequest,
    CampaignPageRequest,
    CampaignRequest,
    GiftPageRequest,
    MomentRequest,
    RejectRequest,
    RevisionRequest,
    StepPageRequest,
)
from flashstock.campaigns.terms import CODE_PATTERN, ITEM_NUMBER_MAX

showing = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], route_class=StorefrontRoute)
campaigns = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], route_class=OpsRoute)

_CODE: Final = re.compile(CODE_PATTERN.removesuffix("$") + r"\Z")
_SHOWN: Final[Responses] = {200: {"model": CampaignDocument, "headers": REPLAYED}}


def campaigns_of(services: ServicesOf) -> CampaignServices:
    """The campaigns of this process."""
    if services.stock is None:
        raise errors.UnknownPath
    return services.stock.campaigns


def _known_code(
    code: Annotated[
        str,
        Path(
            description="The campaign's code.",
            examples=["7KQ2M9XA"],
            json_schema_extra={"pattern": CODE_PATTERN},
        ),
    ],
) -> str:
    """Text that can't be a code names no campaign: nobody needs to be asked."""
    if _CODE.fullmatch(code) is None:
        raise errors.UnknownCampaign(f"{code[:100]!r} is not a code", campaign=code[:100])
    return code


CampaignsOf = Annotated[CampaignServices, Depends(campaigns_of)]
CodeOf = Annotated[str, Depends(_known_code)]
ItemNumber = Annotated[int, Path(ge=1, le=ITEM_NUMBER_MAX, examples=[1])]


@campaigns.post(
    "",
    status_code=201,
    summary="Write a campaign down",
    responses={
        200: {"model": CampaignDocument, "headers": REPLAYED, "description": "It was before."},
        201: {"model": CampaignDocument, "description": "A draft, under a code of its own."},
        **problems(errors.IdempotencyKeyRequired, errors.IdempotencyMismatch, writes=True),
    },
)
async def create_campaign(
    body: CampaignRequest, service: CampaignsOf, principal: PrincipalOf, key: IdempotencyKeyOf
) -> Response:
    """A draft takes no stock. Titles and prices that are left out are those of the SKUs."""
    code, new = await service.life.draft(body.as_terms(), principal.name, key)
    shown = await service.views.show(code)
    return answer(campaign_body(shown), 201 if new else 200, replayed=not new)


@campaigns.get(
    "",
    summary="List campaigns",
    responses={200: {"model": CampaignPage}, **problems(errors.InvalidRequest)},
)
async def list_campaigns(
    page: Annotated[CampaignPageRequest, Query()], service: CampaignsOf
) -> Response:
    """In order of their codes."""
    rows = await service.views.page(page.after, page.limit, page.status)
    next_after = rows[-1].campaign.code if len(rows) == page.limit else None
    return answer({"items": [campaign_line_body(row) for row in rows], "next_after": next_after})


@campaigns.get(
    "/{code}",
    summary="Look at a campaign",
    responses={200: {"model": CampaignDocument}, **problems(errors.UnknownCampaign)},
)
async def get_campaign(code: CodeOf, service: CampaignsOf) -> Response:
    """Its newest revision, the one in force, and its pools as SQL has them."""
    return answer(campaign_body(await service.views.show(code)))


@campaigns.put(
    "/{code}",
    summary="Write a new revision",
    responses={
        200: {"model": CampaignDocument},
        **problems(
            errors.UnknownCampaign, errors.CampaignOutdated, errors.WrongCampaignState, writes=True
        ),
    },
)
async def edit_campaign(
    code: CodeOf, body: CampaignEditRequest, service: CampaignsOf, principal: PrincipalOf
) -> Response:
    """A draft: what is in force stays as it is until somebody approves this one."""
    await service.life.edit(code, body.revision, body.as_terms(), principal.name)
    return answer(campaign_body(await service.views.show(code)))


@campaigns.post(
    "/{code}/submit",
    summary="Ask for approval",
    responses={
        **_SHOWN,
        **problems(
            errors.UnknownCampaign, errors.CampaignOutdated, errors.WrongCampaignState, writes=True
        ),
    },
)
async def submit_campaign(
    code: CodeOf, body: RevisionRequest, service: CampaignsOf, principal: PrincipalOf
) -> Response:
    """Repeating it changes nothing."""
    new = await service.life.submit(code, body.revision, principal.name)
    return answer(campaign_body(await service.views.show(code)), replayed=not new)


@campaigns.post(
    "/{code}/approve",
    summary="Put a revision in force",
    responses={
        **_SHOWN,
        **problems(
            errors.UnknownCampaign,
            errors.CampaignOutdated,
            errors.WrongCampaignState,
            errors.OwnSubmission,
            errors.CampaignItemFixed,
            errors.InsufficientStock,
            errors.UnknownSku,
            errors.UnknownLocation,
            errors.PoolExists,
            writes=True,
        ),
    },
)
async def approve_campaign(
    code: CodeOf, body: RevisionRequest, service: CampaignsOf, principal: PrincipalOf
) -> Response:
    """The stock of all its items is set aside in the same moment, or nothing is approved.

    Whoever submitted it can't approve it, unless an admin. The pools hear of it within moments:
    until then the state is `approved`. The revision's number makes a repetition harmless.
    """
    is_admin = principal.role is Role.ADMIN
    new = await service.life.approve(code, body.revision, principal.name, is_admin=is_admin)
    return answer(campaign_body(await service.views.show(code)), replayed=not new)


@campaigns.post(
    "/{code}/reject",
    summary="Decide against a revision",
    responses={
        **_SHOWN,
        **problems(
            errors.UnknownCampaign, errors.CampaignOutdated, errors.WrongCampaignState, writes=True
        ),
    },
)
async def reject_campaign(
    code: CodeOf, body: RejectRequest, service: CampaignsOf, principal: PrincipalOf
) -> Response:
    """What is in force stays in force."""
    new = await service.life.reject(code, body.revision, body.reason, principal.name)
    return answer(campaign_body(await service.views.show(code)), replayed=not new)


@campaigns.post(
    "/{code}/pause",
    dependencies=[NO_BODY],
    summary="Stop selling for now",
    responses={
        **_SHOWN,
        **problems(errors.UnknownCampaign, errors.WrongCampaignState, writes=True),
    },
)
async def pause_campaign(code: CodeOf, service: CampaignsOf, principal: PrincipalOf) -> Response:
    """Within moments. Holds stay, and can be paid."""
    new = await service.course.pause(code, principal.name)
    return answer(campaign_body(await service.views.show(code)), replayed=not new)


@campaigns.post(
    "/{code}/resume",
    dependencies=[NO_BODY],
    summary="Sell again",
    responses={
        **_SHOWN,
        **problems(errors.UnknownCampaign, errors.WrongCampaignState, writes=True),
    },
)
async def resume_campaign(code: CodeOf, service: CampaignsOf, principal: PrincipalOf) -> Response:
    """The opposite of pausing."""
    new = await service.course.resume(code, principal.name)
    return answer(campaign_body(await service.views.show(code)), replayed=not new)


@campaigns.post(
    "/{code}/end",
    dependencies=[NO_BODY],
    summary="End before its time",
    responses={
        **_SHOWN,
        **problems(errors.UnknownCampaign, errors.WrongCampaignState, writes=True),
    },
)
async def end_campaign(code: CodeOf, service: CampaignsOf, principal: PrincipalOf) -> Response:
    """For good. What buyers hold stays theirs; what is left goes back where it came from."""
    new = await service.course.end(code, principal.name)
    return answer(campaign_body(await service.views.show(code)), replayed=not new)


@campaigns.post(
    "/{code}/void",
    dependencies=[NO_BODY],
    summary="Give up before it begins",
    responses={
        **_SHOWN,
        **problems(errors.UnknownCampaign, errors.WrongCampaignState, writes=True),
    },
)
async def void_campaign(code: CodeOf, service: CampaignsOf, principal: PrincipalOf) -> Response:
    """For good. Its stock goes back where it came from."""
    new = await service.course.void(code, principal.name)
    return answer(campaign_body(await service.views.show(code)), replayed=not new)


@campaigns.post(
    "/{code}/items/{number}/add",
    summary="Set more units aside",
    responses={
        **_SHOWN,
        **problems(
            errors.UnknownCampaign,
            errors.UnknownCampaignItem,
            errors.WrongCampaignState,
            errors.InsufficientStock,
            errors.IdempotencyKeyRequired,
            errors.IdempotencyMismatch,
            writes=True,
        ),
    },
)
async def add_to_item(
    code: CodeOf,
    number: ItemNumber,
    body: AddRequest,
    service: CampaignsOf,
    principal: PrincipalOf,
    key: IdempotencyKeyOf,
) -> Response:
    """For an item that is in force. They are for sale within moments."""
    new = await service.course.add(code, number, body.quantity, principal.name, key)
    return answer(campaign_body(await service.views.show(code)), replayed=not new)


@campaigns.get(
    "/{code}/items/{number}",
    summary="What an item was at a moment",
    responses={
        200: {"model": SnapshotDocument},
        **problems(errors.UnknownCampaign, errors.UnknownCampaignItem, errors.InvalidRequest),
    },
)
async def item_at(
    code: CodeOf,
    number: ItemNumber,
    moment: Annotated[MomentRequest, Query()],
    service: CampaignsOf,
) -> Response:
    """Price, title and all the rest, by the revision that was in force."""
    return answer(snapshot_body(await service.views.item_at(code, number, moment.at)))


@campaigns.get(
    "/{code}/steps",
    summary="Who did what",
    responses={
        200: {"model": StepPage},
        **problems(errors.UnknownCampaign, errors.InvalidRequest),
    },
)
async def list_steps(
    code: CodeOf, page: Annotated[StepPageRequest, Query()], service: CampaignsOf
) -> Response:
    """Every step with its actor and time, oldest first."""
    rows = await service.views.steps(code, page.after, page.limit)
    next_after = rows[-1].number if len(rows) == page.limit else None
    return answer({"items": [step_body(row) for row in rows], "next_after": next_after})


@campaigns.get(
    "/{code}/gifts",
    summary="Which orders got which gift",
    responses={
        200: {"model": GivenGiftPage},
        **problems(errors.UnknownCampaign, errors.InvalidRequest),
    },
)
async def list_gifts(
    code: CodeOf, page: Annotated[GiftPageRequest, Query()], service: CampaignsOf
) -> Response:
    """Decided once for each paid order, in the order of payment. By order number."""
    rows = await service.gifts.page(code, page.after, page.limit, page.order_no)
    next_after = rows[-1].order_no if len(rows) == page.limit else None
    return answer({"items": [gift_body(row) for row in rows], "next_after": next_after})


@showing.get(
    "/{code}/public",
    summary="What a page shows",
    responses={200: {"model": PublicCampaignDocument}, **problems(errors.UnknownCampaign)},
)
async def show_campaign(code: CodeOf, services: ServicesOf, service: CampaignsOf) -> Response:
    """Of what is in force; `available` is a moment old. Nothing is shown of a mere draft."""
    shown = await service.views.show(code)
    if shown.live is None or services.stock is None:
        raise errors.UnknownCampaign(f"there is no campaign {code!r}", campaign=code)
    return answer(public_body(shown, services.stock.clock()))
