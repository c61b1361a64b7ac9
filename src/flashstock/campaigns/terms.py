"""What a campaign is: the words and records that the rest of the package speaks in. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from flashstock.model.rules import Wave
from flashstock.model.states import DeductMode

CODE_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Nothing that is read as something else on the phone."""
CODE_LENGTH: Final = 8
CODE_PATTERN: Final = r"^[2-9A-HJ-NP-Z]{8}$"
ITEMS_MAX: Final = 100
ITEM_NUMBER_MAX: Final = 999
GIFT_TIERS_MAX: Final = 5
PLACES_MAX: Final = 50
COMPONENTS_MAX: Final = 20


GIFTS_ONLY: Final = "=gifts"
"""A channel that no caller can name: the pools of gifts sell through it alone."""


class Status(StrEnum):
    """What is written down of a campaign; time decides the rest (``State``)."""

    DRAFT = "draft"
    """No revision was ever approved."""
    APPROVED = "approved"
    PAUSED = "paused"
    ENDED = "ended"
    VOID = "void"


class State(StrEnum):
    """Where a campaign stands at a moment."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    APPROVED = "approved"
    """Approved, and its pools are being filled."""
    SCHEDULED = "scheduled"
    LIVE = "live"
    PAUSED = "paused"
    ENDED = "ended"
    VOID = "void"


class RevisionState(StrEnum):
    """What has become of one revision. At most one is in force."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    REJECTED = "rejected"
    IN_FORCE = "in_force"
    REPLACED = "replaced"
    """A newer one took its place, before or after it was in force."""


@dataclass(frozen=True, slots=True)
class Gift:
    """A limited number of gifts; tier 1 is given first, the next when it is gone."""

    sku: str
    quantity: int
    tier: int


@dataclass(frozen=True, slots=True)
class Item:
    """What is sold under one number of a campaign; the number keeps its meaning for ever.

    Args:
        quantity: units that are set aside in all.
        price_minor: in the currency's smallest unit; the final price where there is a deposit.
        added: units added while it was live, on top of ``quantity``.
        needs: how many units of which SKU one unit takes; fixed when it is approved.
    """

    number: int
    sku: str
    quantity: int
    price_minor: int = 0
    currency: str = ""
    title: str = ""
    presale: bool = False
    deposit_minor: int = 0
    waves: tuple[Wave, ...] = ()
    gifts: tuple[Gift, ...] = ()
    group_buy: str = ""
    """As in ``model.group_rules``; empty: buyers buy for themselves."""
    added: int = 0
    needs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything a revision says. Times are ms since the epoch; ``places`` empty: automatic."""

    name: str
    starts_at_ms: int
    ends_at_ms: int
    items: tuple[Item, ...]
    channels: tuple[str, ...] = ()
    per_buyer_limit: int = 0
    limit_across_items: bool = False
    audience: str = ""
    """As in ``model.eligibility``; empty: everyone."""
    deduct: DeductMode = DeductMode.HOLD
    hold_ms: int = 900_000
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision with what has become of it."""

    number: int
    state: RevisionState
    terms: Terms
    created_by: str
    created_at_ms: int
    submitted_by: str = ""
    decided_by: str = ""
    reason: str = ""
    in_force_from_ms: int = 0
    in_force_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as it is written down. ``live_revision`` 0: none was ever approved."""

    code: str
    status: Status
    latest_revision: int
    live_revision: int
    starts_at_ms: int
    ends_at_ms: int
    created_by: str
    created_at_ms: int
    updated_at_ms: int


def pool_of(code: str, item: int, *, across_items: bool) -> str:
    """The pool of an item. Ids with a colon share one count of units per buyer."""
    return f"{code}:{item}" if across_items else f"{code}-{item}"


def gift_pool_of(code: str, item: int, tier: int) -> str:
    """The pool of one tier of an item's gifts."""
    return f"{code}-{item}-g{tier}"


def state_of(campaign: Campaign, latest: RevisionState, at_ms: int, *, is_filled: bool) -> State:
    """Where the campaign stands at ``at_ms``.

    Args:
        latest: of the newest revision; matters only as long as none was approved.
        is_filled: whether all its pools have their units and sell by its rules.
    """
    match campaign.status:
        case Status.VOID:
            return State.VOID
        case Status.ENDED:
            return State.ENDED
        case Status.DRAFT:
            return State.SUBMITTED if latest is RevisionState.SUBMITTED else State.DRAFT
    if at_ms >= campaign.ends_at_ms:
        return State.ENDED
    if campaign.status is Status.PAUSED:
        return State.PAUSED
    if not is_filled:
        return State.APPROVED
    return State.SCHEDULED if at_ms < campaign.starts_at_ms else State.LIVE
