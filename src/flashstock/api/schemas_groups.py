"""What a caller may send about group-buys: the rule of a pool, opening, joining, listing."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flashstock.api.schemas import AttestsRequest, Body, Buyer, PoolId, Quantity
from flashstock.model import group_rules
from flashstock.model.group_rules import (
    PRICE_MINOR_MAX,
    GroupDeduct,
    GroupRules,
    GroupType,
    PriceTier,
)
from flashstock.model.rules import POOL_QUANTITY_MAX

LIFE_SECONDS_DEFAULT: Final = 24 * 3_600
OPEN_GROUPS_DEFAULT: Final = 20
OPEN_GROUPS_MAX: Final = 100
_CURSOR_OR_NOTHING: Final = r"^([0-9]{1,18}~[A-Za-z0-9_-]{16})?$"

Seats = Annotated[
    int, Field(ge=group_rules.GROUP_SIZE_MIN, le=group_rules.GROUP_SIZE_MAX, examples=[3])
]


class TierRequest(Body):
    """The price of everybody in a group in which at least so many seats are paid."""

    seats: Annotated[int, Field(ge=1, le=group_rules.GROUP_SIZE_MAX, examples=[2])]
    price_minor: Annotated[int, Field(ge=1, le=PRICE_MINOR_MAX, examples=[1990])]


class GroupBuyRequest(Body):
    """How a pool sells to groups. A group keeps the rules under which it was opened."""

    size: Seats = Field(description="Paid seats with which a group forms.")
    life_seconds: Annotated[int, Field(ge=1, le=group_rules.GROUP_LIFE_MS_MAX // 1_000)] = Field(
        default=LIFE_SECONDS_DEFAULT,
        description="How long a group gathers; it never lasts longer than the pool sells.",
    )
    type: Annotated[GroupType, Field(strict=False)] = Field(
        default=GroupType.ORDINARY,
        description="`newcomers`: who joins (not who opens) must be a new buyer, as the caller"
        " `attests`. `super`: large, with price `tiers`.",
    )
    deduct: Annotated[GroupDeduct, Field(strict=False)] = Field(
        default=GroupDeduct.PAY,
        description="When units are sold: as each member pays (seats hold them until then), or"
        " all at once as the group forms, if they are there.",
    )
    seats_per_buyer: Annotated[int, Field(ge=1, le=group_rules.GROUP_SIZE_MAX)] = Field(
        default=1, description="Seats one buyer may have in one group."
    )
    groups_per_buyer: Annotated[int, Field(ge=1, le=POOL_QUANTITY_MAX)] | None = Field(
        default=None, description="Groups of the pool one buyer may be in; no limit by default."
    )
    open_max: Annotated[int, Field(ge=1, le=group_rules.GROUPS_OPEN_MAX)] | None = Field(
        default=None, description="Groups that may be open at once; no limit by default."
    )
    house_max: Annotated[int, Field(ge=0, le=group_rules.GROUP_SIZE_MAX)] = Field(
        default=0,
        description="At the deadline the house completes a group that is short by at most so many"
        " seats.",
    )
    tiers: Annotated[list[TierRequest], Field(max_length=group_rules.TIERS_MAX)] = Field(
        default=[], description="Of a `super` group: the more seats, the lower the price."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.seats_per_buyer > self.size:
            raise ValueError("seats_per_buyer must not be more than size")
        if self.house_max >= self.size:
            raise ValueError("house_max must be less than size")
        if self.tiers and self.type is not GroupType.SUPER:
            raise ValueError("tiers: only a super group has them")
        if any(tier.seats > self.size for tier in self.tiers):
            raise ValueError("tiers: one takes more seats than size")
        for lower, higher in zip(self.tiers, self.tiers[1:], strict=False):
            if higher.seats <= lower.seats or higher.price_minor >= lower.price_minor:
                raise ValueError("tiers: each takes more seats and costs less than the one before")
        return self

    def rules(self) -> GroupRules:
        """The rules it asks for."""
        return GroupRules(
            size=self.size,
            life_ms=self.life_seconds * 1_000,
            open_max=self.open_max or 0,
            seats_per_buyer=self.seats_per_buyer,
            groups_per_buyer=self.groups_per_buyer or 0,
            type=self.type,
            deduct=self.deduct,
            house_max=self.house_max,
            tiers=tuple(PriceTier(tier.seats, tier.price_minor) for tier in self.tiers),
        )


class OpenGroupRequest(Body):
    """A seat in a group of its own; or, with ``match``, in one that is open, if there is any."""

    pool: PoolId
    buyer: Buyer
    quantity: Quantity = 1
    match: bool = Field(
        default=False,
        description="Join the group that is nearest to full among those the buyer may join; open"
        " one only where there is none.",
    )
    attests: AttestsRequest | None = None


class JoinGroupRequest(Body):
    """A seat in this group. ``quantity`` are units; it is one seat whatever their number."""

    buyer: Buyer
    quantity: Quantity = 1
    attests: AttestsRequest | None = None


class GroupPageRequest(BaseModel):
    """Which open groups to list."""

    model_config = ConfigDict(extra="forbid")

    pool: PoolId
    after: Annotated[str, Field(pattern=_CURSOR_OR_NOTHING)] = Field(
        default="", description="`next_after` of the page before."
    )
    limit: Annotated[int, Field(ge=1, le=OPEN_GROUPS_MAX)] = OPEN_GROUPS_DEFAULT
