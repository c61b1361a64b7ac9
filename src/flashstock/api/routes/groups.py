"""Group-buys: look at a group, find one to join. Opening and joining are lean routes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies_groups import group_body, group_line_body
from flashstock.api.documents import ReservationDocument
from flashstock.api.documents_groups import GroupDocument, GroupPage
from flashstock.api.openapi import REPLAYED, problems
from flashstock.api.routes.reservations import REFUSALS
from flashstock.api.routing import IdempotencyKeyOf, ServicesOf, StorefrontRoute, answer
from flashstock.api.schemas_groups import GroupPageRequest, JoinGroupRequest, OpenGroupRequest
from flashstock.model.ids import RESERVATION_ID_PATTERN

GroupIdOf = Annotated[
    str,
    Path(
        alias="group_id",
        description="The id of the reservation that opened the group.",
        examples=["campaign-1~Jx0yYv3mDq8Qe1aZ"],
        json_schema_extra={"pattern": RESERVATION_ID_PATTERN},
    ),
]
_TAKING = (
    *REFUSALS,
    errors.NotAGroupBuy,
    errors.SeatsLimit,
    errors.GroupsLimit,
    errors.IdempotencyKeyRequired,
    errors.IdempotencyMismatch,
    errors.NotRecorded,
)

groups = APIRouter(tags=["groups"], route_class=StorefrontRoute)
lean = APIRouter(tags=["groups"])
"""Only described here, for the document: ``hot_groups`` serves them."""


@groups.get(
    "/v1/groups",
    summary="Find a group to join",
    responses={
        200: {"model": GroupPage},
        **problems(errors.UnknownPool, errors.NotAGroupBuy, errors.InvalidRequest),
    },
)
async def list_groups(page: Annotated[GroupPageRequest, Query()], services: ServicesOf) -> Response:
    """Groups of a pool with a free seat, the nearest to full first, then those that end first.

    The list moves while it is read: a group that gets a seat between two pages may be in both, or
    in neither.
    """
    views, next_after = await services.groups.page(page.pool, page.after, page.limit)
    return answer({"items": [group_line_body(view) for view in views], "next_after": next_after})


@groups.get(
    "/v1/groups/{group_id}",
    summary="Look at a group",
    responses={
        200: {"model": GroupDocument},
        **problems(errors.UnknownGroup, errors.InvalidRequest),
    },
)
async def get_group(group_id: GroupIdOf, services: ServicesOf) -> Response:
    """As of this instant: whether it formed is decided at its deadline, swept or not."""
    return answer(group_body(await services.groups.get(group_id)))


@lean.post(
    "/v1/groups",
    status_code=201,
    summary="Open a group, or be matched into one",
    responses={
        200: {
            "model": ReservationDocument,
            "headers": REPLAYED,
            "description": "A replay: the seat this key took before, as it is now.",
        },
        201: {
            "model": ReservationDocument,
            "description": "A seat, to be paid until `expires_at`. Its `group` is the group's id.",
        },
        **problems(*_TAKING, errors.UnknownPool, errors.OpenLimit, writes=True),
    },
)
async def open_group(body: OpenGroupRequest, key: IdempotencyKeyOf) -> None:
    """Takes a seat and its units in one step. The seat is a reservation: it is paid by `confirm`,
    and until its group has formed it is given up by `cancel`.
    """


@lean.post(
    "/v1/groups/{group_id}/join",
    status_code=201,
    summary="Join a group",
    responses={
        200: {"model": ReservationDocument, "headers": REPLAYED, "description": "A replay."},
        201: {"model": ReservationDocument, "description": "A seat, to be paid."},
        **problems(*_TAKING, errors.UnknownGroup, errors.GroupFull, errors.GroupOver, writes=True),
    },
)
async def join_group(group_id: GroupIdOf, body: JoinGroupRequest, key: IdempotencyKeyOf) -> None:
    """Whether there is a place is checked here, and again at the payment: never are more seats paid
    than the group has. A payment after the seat's time takes it again, if there is a place.
    """
