"""What every step of a campaign begins with: the lock of the book, and who asks for what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.campaigns import records
from flashstock.campaigns.terms import (
    Campaign,
    Item,
    Revision,
    RevisionState,
    Status,
    Terms,
    gift_pool_of,
    pool_of,
)
from flashstock.errors import CampaignOutdated, WrongCampaignState
from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS, writing
from flashstock.stockbook.posting import lock_book

IN_FORCE: Final = (Status.APPROVED, Status.PAUSED)
OPEN: Final = (Status.DRAFT, *IN_FORCE)


class Steps:
    """What the steps have in common. All raise ``UnknownCampaign`` and ``LedgerUnavailable``.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[AsyncConnection]:
        """One transaction; no other step, and no movement of stock, comes between."""
        async with writing(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            await lock_book(connection)
            yield connection


def item_pool(code: str, revision: Revision, item: Item) -> str:
    return pool_of(code, item.number, across_items=revision.terms.limit_across_items)


def is_over(campaign: Campaign, at_ms: int) -> bool:
    return bool(campaign.live_revision) and at_ms >= campaign.ends_at_ms


async def known_by(connection: AsyncConnection, code: str, seen: int) -> Campaign:
    campaign = await records.find(connection, code)
    if campaign.latest_revision != seen:
        newest = campaign.latest_revision
        raise CampaignOutdated(f"revision {newest} is the newest one", revision=newest)
    return campaign


def require(campaign: Campaign, allowed: Collection[Status]) -> None:
    if campaign.status not in allowed:
        state = campaign.status.value
        raise WrongCampaignState(f"the campaign is {state}", state=state)


def require_revision(revision: Revision, wanted: RevisionState) -> None:
    if revision.state is not wanted:
        state = revision.state.value
        raise WrongCampaignState(f"revision {revision.number} is {state}", state=state)


def gift_pools(code: str, terms: Terms) -> list[str]:
    """The pools of all gifts of a revision."""
    return [
        gift_pool_of(code, item.number, gift.tier) for item in terms.items for gift in item.gifts
    ]
