"""Campaigns: from the draft to the end. An edit is a revision that somebody has to approve."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.responses import Response

from flashstock.api.auth import Role
from flashstock.api.campaign_services import CampaignServices
from flashstock.api.schemas_campaigns import (
    AddRequest,
    CampaignEditRequest,
    CampaignRequest,
    RejectRequest,
    RevisionRequest,
)
from flashstock.campaigns.terms import CODE_PATTERN, RevisionState, State, Status
from flashstock.campaigns.views import ShownCampaign
from flashstock.console.campaign_form import asked_terms, filled_form
from flashstock.console.routing import Asked, Done, action, page, path_to
from flashstock.console.subjects import phase_of
from flashstock.errors import UnknownCampaign
from flashstock.statistics.queries import Grain

PAGE_ROWS: Final = 50
STEPS_SHOWN: Final = 200
_CODE: Final = re.compile(CODE_PATTERN.removesuffix("$") + r"\Z")
_OVER: Final = (State.ENDED, State.VOID)


def known_code(asked: Asked) -> str:
    """The campaign of the path. Text that can't be a code names none."""
    code = asked.named("code")
    if _CODE.fullmatch(code) is None:
        raise UnknownCampaign(f"{code[:100]!r} is not a code", campaign=code[:100])
    return code


async def campaigns(asked: Asked) -> Response:
    """In order of their codes, those of one status if one is named."""
    after, status = asked.wanted("after"), asked.wanted("status")
    wanted = Status(status) if status in set(Status) else None
    rows = await asked.stock.campaigns.views.page(after, PAGE_ROWS, wanted)
    return asked.render(
        "campaigns.html",
        rows=rows,
        status=status,
        statuses=[one.value for one in Status],
        next_after=rows[-1].campaign.code if len(rows) == PAGE_ROWS else None,
    )


async def campaign(asked: Asked) -> Response:
    """One campaign: its newest revision, the one in force, its pools, its steps."""
    code = known_code(asked)
    services = asked.stock.campaigns
    shown = await services.views.show(code)
    pools = [item.shelf.pool for item in shown.items]
    report = await asked.stock.notices.statistics.together(
        pools, 0, asked.console.now_ms() + 60_000, Grain.TOTAL
    )
    return asked.render(
        "campaign.html",
        shown=shown,
        code=code,
        report=report,
        steps=await services.views.steps(code, 0, STEPS_SHOWN),
        may=_steps_to_take(shown),
        is_own=shown.latest.submitted_by == asked.principal.name,
        is_admin=asked.principal.role is Role.ADMIN,
        phase_of=phase_of,
    )


async def new_campaign(asked: Asked) -> Response:
    """The form for a draft."""
    return asked.render("campaign_form.html", form=filled_form(None), code=None, revision=0)


async def edit_campaign(asked: Asked) -> Response:
    """The form for a new revision, filled with the newest one."""
    code = known_code(asked)
    shown = await asked.stock.campaigns.views.show(code)
    form = filled_form(shown.latest.terms)
    return asked.render("campaign_form.html", form=form, code=code, revision=shown.latest.number)


async def create(asked: Asked) -> Done:
    """Write a campaign down. A draft takes no stock."""
    request = asked.validated(CampaignRequest, asked_terms(asked, None))
    code, new = await asked.stock.campaigns.life.draft(
        request.as_terms(), asked.principal.name, asked.idempotency_key()
    )
    said = "is written down: submit it to have it approved." if new else "was written down before."
    return Done(path_to("campaigns", code), f"Campaign {code} {said}")


async def edit(asked: Asked) -> Done:
    """A new revision: what is in force stays as it is until somebody approves this one."""
    code = known_code(asked)
    shown = await asked.stock.campaigns.views.show(code)
    fields = {**asked_terms(asked, shown.latest.terms), "revision": asked.whole_number("revision")}
    request = asked.validated(CampaignEditRequest, fields)
    number = await asked.stock.campaigns.life.edit(
        code, request.revision, request.as_terms(), asked.principal.name
    )
    return Done(path_to("campaigns", code), f"Revision {number} is written down: submit it.")


async def submit(asked: Asked) -> Done:
    """Ask for approval."""
    code, revision = known_code(asked), _revision(asked)
    await asked.stock.campaigns.life.submit(code, revision, asked.principal.name)
    return Done(path_to("campaigns", code), f"Revision {revision} waits for approval.")


async def approve(asked: Asked) -> Done:
    """Put a revision in force: its stock is set aside in the same moment, or nothing happens."""
    code, revision = known_code(asked), _revision(asked)
    is_admin = asked.principal.role is Role.ADMIN
    life = asked.stock.campaigns.life
    await life.approve(code, revision, asked.principal.name, is_admin=is_admin)
    return Done(path_to("campaigns", code), f"Revision {revision} is in force.")


async def reject(asked: Asked) -> Done:
    """Decide against a revision."""
    code = known_code(asked)
    request = asked.validated(
        RejectRequest,
        {"revision": asked.whole_number("revision"), "reason": asked.field("reason")},
    )
    life = asked.stock.campaigns.life
    await life.reject(code, request.revision, request.reason, asked.principal.name)
    return Done(path_to("campaigns", code), f"Revision {request.revision} was rejected.")


async def add(asked: Asked) -> Done:
    """Set more units aside for an item that is in force."""
    code, number = known_code(asked), asked.number_in_path("item")
    request = asked.validated(AddRequest, {"quantity": asked.whole_number("quantity")})
    await asked.stock.campaigns.course.add(
        code, number, request.quantity, asked.principal.name, asked.idempotency_key()
    )
    said = f"{request.quantity:,} units are set aside for item {number}, and on their way."
    return Done(path_to("campaigns", code), said)


def _revision(asked: Asked) -> int:
    fields = {"revision": asked.whole_number("revision")}
    return asked.validated(RevisionRequest, fields).revision


def _turn(
    verb: Callable[[CampaignServices], Callable[[str, str], Awaitable[bool]]], said: str
) -> Callable[[Asked], Awaitable[Done]]:
    """One of the steps that take nothing but the campaign."""

    async def turn(asked: Asked) -> Done:
        code = known_code(asked)
        new = await verb(asked.stock.campaigns)(code, asked.principal.name)
        return Done(path_to("campaigns", code), said if new else "Nothing changed.")

    return turn


def _steps_to_take(shown: ShownCampaign) -> set[str]:
    """What can be done with a campaign where it stands."""
    if shown.state in _OVER:
        return set()
    steps = {"edit"}
    if shown.latest.state is RevisionState.DRAFT:
        steps.add("submit")
    if shown.latest.state is RevisionState.SUBMITTED:
        steps |= {"approve", "reject"}
    if shown.live is not None:
        steps |= {"end", "resume" if shown.state is State.PAUSED else "pause", "add"}
    if shown.state in (State.DRAFT, State.SUBMITTED, State.APPROVED, State.SCHEDULED):
        steps.add("void")
    return steps


_PAUSED: Final = "Paused within moments: holds stay, and can be paid."
_ENDED: Final = "Ended for good: what is left goes back where it came from."
_VOIDED: Final = "Given up: its stock goes back where it came from."

ROUTES = (
    page("/campaigns", campaigns),
    action("/campaigns", create),
    page("/new-campaign", new_campaign),
    page("/campaigns/{code}", campaign),
    page("/campaigns/{code}/edit", edit_campaign),
    action("/campaigns/{code}/edit", edit),
    action("/campaigns/{code}/submit", submit),
    action("/campaigns/{code}/approve", approve),
    action("/campaigns/{code}/reject", reject),
    action("/campaigns/{code}/pause", _turn(lambda service: service.course.pause, _PAUSED)),
    action(
        "/campaigns/{code}/resume",
        _turn(lambda service: service.course.resume, "It sells again within moments."),
    ),
    action("/campaigns/{code}/end", _turn(lambda service: service.course.end, _ENDED)),
    action("/campaigns/{code}/void", _turn(lambda service: service.course.void, _VOIDED)),
    action("/campaigns/{code}/items/{item}/add", add),
)
