"""What the service answers about group-buys, typed."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Tier(msgspec.Struct, frozen=True):
    """The price of everybody in a group in which at least so many seats are paid."""

    seats: int
    price_minor: int


class GroupBuy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a pool sells to groups; ``None`` is no limit.

    ``type``: ordinary, newcomers or super. ``deduct``: units are sold as each member pays
    (``pay``) or as the group forms (``form``).
    """

    size: int
    life_seconds: int = 24 * 3_600
    type: str = "ordinary"
    deduct: str = "pay"
    seats_per_buyer: int = 1
    groups_per_buyer: int | None = None
    open_max: int | None = None
    house_max: int = 0
    tiers: tuple[Tier, ...] = ()


class NextPrice(msgspec.Struct, frozen=True):
    """The next tier, and how many more paid seats it takes."""

    seats: int
    price_minor: int
    missing: int


class GroupProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a group is. ``paid`` seats are taken for good, ``pending`` ones until their
    deadlines; ``missing`` are those that it still takes to form.
    """

    state: str
    size: int
    paid: int
    pending: int
    house: int
    missing: int
    free_seats: int
    ends_at: datetime
    time_left_ms: int
    price_minor: int | None = None
    next_price: NextPrice | None = None


class Member(msgspec.Struct, frozen=True):
    """A seat and who has it."""

    reservation: str
    buyer: str
    quantity: int
    state: str
    opener: bool


class Group(GroupProgress, frozen=True, kw_only=True):
    """A group: open, formed or failed. In a list it is shown without its members."""

    id: str
    pool: str
    type: str
    opener: str | None = None
    reason: str | None = None
    members: tuple[Member, ...] = ()


class GroupPage(msgspec.Struct, frozen=True):
    """Some open groups, nearest to full first, and where the next page begins."""

    items: tuple[Group, ...]
    next_after: str | None
