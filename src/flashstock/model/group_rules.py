"""The rules of a group-buy, as one text: in the pool's hash, its events, SQL, and each group.

``size:life_ms:open_max:seats_per_buyer:groups_per_buyer:type:deduct:house_max:tiers``, for example
``3:86400000:0:1:0:ordinary:pay:0:`` or ``10:3600000:500:1:2:super:form:2:2=1990,5=1790,10=1490``.
An ordinary pool has no such text: ``''``. A group keeps the rules that it was opened under.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

GROUP_SIZE_MIN: Final = 2
GROUP_SIZE_MAX: Final = 1_000
GROUP_LIFE_MS_MAX: Final = 90 * 24 * 3_600_000
GROUPS_OPEN_MAX: Final = 1_000_000
"""What ``open_max`` may be at most; 0 sets no limit."""
TIERS_MAX: Final = 20
PRICE_MINOR_MAX: Final = 10**12
GROUP_RULES_PATTERN: Final = (
    r"^$|^[1-9]\d*:[1-9]\d*:\d+:[1-9]\d*:\d+:(ordinary|newcomers|super):(pay|form):\d+:"
    r"(\d+=\d+(,\d+=\d+)*)?$"
)


class GroupType(StrEnum):
    """What kind of group-buy it is."""

    ORDINARY = "ordinary"
    NEWCOMERS = "newcomers"
    """Anyone may open a group; only new buyers may join one."""
    SUPER = "super"
    """Large groups, whose price falls with the seats that are paid."""


class GroupDeduct(StrEnum):
    """When a group takes its units from what is available."""

    PAY = "pay"
    """Each seat holds its units until its payment sells them: a full group can't lack stock."""
    FORM = "form"
    """All paid seats at once, when the group forms; where too few are left it fails as a whole."""


class PriceTier(NamedTuple):
    """From so many paid seats on, everybody's price."""

    seats: int
    price_minor: int


@dataclass(frozen=True, slots=True)
class GroupRules:
    """What decides who may open and join, and how a group ends. 0 means no limit, or never.

    ``open_max`` bounds the open groups of the pool; ``seats_per_buyer`` the seats of one buyer in
    one group; ``groups_per_buyer`` the groups of the pool that one buyer may be in, formed ones
    too. The house completes a group that lacks at most ``house_max`` seats at its deadline.
    """

    size: int
    life_ms: int
    open_max: int = 0
    seats_per_buyer: int = 1
    groups_per_buyer: int = 0
    type: GroupType = GroupType.ORDINARY
    deduct: GroupDeduct = GroupDeduct.PAY
    house_max: int = 0
    tiers: tuple[PriceTier, ...] = ()

    @property
    def text(self) -> str:
        """As stored. ``parse_group_rules`` is the inverse."""
        tiers = ",".join(f"{tier.seats}={tier.price_minor}" for tier in self.tiers)
        return (
            f"{self.size}:{self.life_ms}:{self.open_max}:{self.seats_per_buyer}"
            f":{self.groups_per_buyer}:{self.type}:{self.deduct}:{self.house_max}:{tiers}"
        )

    def tier_at(self, paid: int) -> PriceTier | None:
        """The tier that so many paid seats reach; ``None`` below the first, or without tiers."""
        reached = [tier for tier in self.tiers if tier.seats <= paid]
        return reached[-1] if reached else None

    def tier_after(self, paid: int) -> PriceTier | None:
        """The next tier to reach; ``None`` where there is no better one."""
        return next((tier for tier in self.tiers if tier.seats > paid), None)

    def problem(self) -> str:
        """What is wrong with them, in words; empty where nothing is."""
        if not GROUP_SIZE_MIN <= self.size <= GROUP_SIZE_MAX:
            return f"a group has {GROUP_SIZE_MIN} to {GROUP_SIZE_MAX} seats"
        if not 0 < self.life_ms <= GROUP_LIFE_MS_MAX:
            return f"a group lives for 1 to {GROUP_LIFE_MS_MAX} ms"
        if not 0 < self.seats_per_buyer <= self.size:
            return "a buyer may have one seat of a group up to all of them"
        if not 0 <= self.open_max <= GROUPS_OPEN_MAX or self.groups_per_buyer < 0:
            return "a limit is 0 (none) or more"
        if not 0 <= self.house_max < self.size:
            return "the house completes fewer seats than a group has"
        return self._problem_of_tiers()

    def _problem_of_tiers(self) -> str:
        if self.tiers and self.type is not GroupType.SUPER:
            return "only super groups have price tiers"
        if len(self.tiers) > TIERS_MAX:
            return f"there are at most {TIERS_MAX} price tiers"
        for earlier, later in zip(self.tiers, self.tiers[1:], strict=False):
            if later.seats <= earlier.seats or later.price_minor >= earlier.price_minor:
                return "tiers come in order of seats, and each is cheaper than the one before"
        for tier in self.tiers:
            if not 0 < tier.seats <= self.size or not 0 <= tier.price_minor <= PRICE_MINOR_MAX:
                return "a tier needs a number of seats that the group has, and a price"
        return ""


def parse_group_rules(text: str) -> GroupRules:
    """Read stored rules. Raises ``ValueError`` on text that is not of their form."""
    size, life_ms, open_max, seats, groups, kind, deduct, house_max, tiers = text.split(":")
    pairs = (part.split("=") for part in tiers.split(",") if part)
    return GroupRules(
        size=int(size),
        life_ms=int(life_ms),
        open_max=int(open_max),
        seats_per_buyer=int(seats),
        groups_per_buyer=int(groups),
        type=GroupType(kind),
        deduct=GroupDeduct(deduct),
        house_max=int(house_max),
        tiers=tuple(PriceTier(int(count), int(price)) for count, price in pairs),
    )
