"""The shape of every answer about groups, for the OpenAPI document."""

from __future__ import annotations

from pydantic import BaseModel, Field

from flashstock.api.documents import ProgressDocument
from flashstock.model.group_rules import GroupType
from flashstock.model.states import FailReason, ReservationState


class GroupLineDocument(ProgressDocument):
    """A group in a list."""

    id: str = Field(examples=["campaign-1~Jx0yYv3mDq8Qe1aZ"])
    pool: str = Field(examples=["campaign-1"])
    type: GroupType
    opener: str | None = Field(description="The reservation of whoever leads the group now.")


class MemberDocument(BaseModel):
    """A seat and who has it."""

    reservation: str
    buyer: str
    quantity: int = Field(ge=1)
    state: ReservationState
    opener: bool


class GroupDocument(GroupLineDocument):
    """A group, and up to 100 of its members, those who have paid first."""

    reason: FailReason | None = Field(description="Why it failed, once that is in SQL.")
    members: list[MemberDocument]


class GroupPage(BaseModel):
    """Groups with a free seat, the nearest to full first. ``next_after`` is null at the end."""

    items: list[GroupLineDocument]
    next_after: str | None
