"""Fills the shelves before the day, and clears them after it: book, campaigns and pools."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from flashstock.client import (
    Balance,
    Campaign,
    CampaignOrder,
    Movement,
    Order,
    Pool,
    PoolOrder,
    Shelf,
    StockIdentity,
    StockLine,
)
from flashstock.errors import Unavailable
from flashstock.replay.account import (
    Account,
    BookFindings,
    compare_balances,
    compare_orders,
)
from flashstock.replay.stocking import Stocking

POLL_SECONDS: Final = 0.5
POLL_SHARE: Final = 5
"""Looking takes at most one in so many seconds of the service."""
STALLED_SECONDS: Final = 60.0
"""So long a shelf may stay as it is before nobody waits for it any more."""
BEGINS_BEFORE: Final = timedelta(days=1)
ENDS_AFTER: Final = timedelta(days=30)
APPROVED_AT_ONCE: Final = 4


class BookKeeper(Protocol):
    """What stocking up and clearing away ask of the service."""

    async def put_location(
        self, code: str, *, kind: str, priority: int, regions: Mapping[str, int]
    ) -> None: ...

    async def import_skus(self, csv: bytes, key: str) -> int: ...

    async def move(
        self, kind: str, lines: Sequence[StockLine], key: str, *, reason: str, reference: str
    ) -> Movement: ...

    async def open_pool(self, order: PoolOrder) -> Pool: ...

    async def draft_campaign(self, order: CampaignOrder, key: str) -> Campaign: ...

    async def submit_campaign(self, code: str, revision: int) -> Campaign: ...

    async def approve_campaign(self, code: str, revision: int) -> Campaign: ...

    async def campaign(self, code: str) -> Campaign: ...

    async def end_campaign(self, code: str) -> Campaign: ...

    def balances(self, location: str) -> AsyncIterator[Balance]: ...

    def orders_since(self, at: datetime) -> AsyncIterator[Order]: ...

    async def stock_identity(self) -> StockIdentity: ...


class Shelves:
    """The stock of a run: received, set aside by campaigns, given back.

    Args:
        hold_seconds: how long a cart is held that nobody pays.
    """

    def __init__(
        self, keeper: BookKeeper, account: Account, stocking: Stocking, *, hold_seconds: int
    ) -> None:
        self._keeper = keeper
        self._account = account
        self._stocking = stocking
        self._hold_seconds = hold_seconds
        self._campaigns: dict[str, Campaign] = {}
        self.filled: set[str] = set()
        """Pools that sell."""
        self.cleared: set[str] = set()
        """Pools that have given back what nobody bought."""

    @property
    def goal(self) -> int:
        """How many pools there will be, those without a unit left out."""
        return sum(1 for units in self._stocking.units.values() if units)

    @property
    def campaigns(self) -> int:
        return len(self._campaigns)

    async def fill(self) -> None:
        """Receive everything, set it aside, and wait until every pool has its units.

        Raises:
            Unavailable: the pools did not get their units, and nothing moved for a minute.
        """
        await self._receive()
        slots = asyncio.Semaphore(APPROVED_AT_ONCE)
        now = datetime.now(UTC).replace(microsecond=0)

        async def approve(order: CampaignOrder, key: str) -> None:
            async with slots:
                code = (await self._keeper.draft_campaign(order, key)).code
                await self._keeper.submit_campaign(code, 1)
                self._campaigns[code] = await self._keeper.approve_campaign(code, 1)

        plan, run = self._stocking, self._stocking.run
        await asyncio.gather(
            *(
                approve(
                    CampaignOrder(
                        name=f"{run} {number}",
                        starts_at=now - BEGINS_BEFORE,
                        ends_at=now + ENDS_AFTER,
                        items=items,
                        locations=(plan.warehouse, plan.store),
                        hold_seconds=self._hold_seconds,
                    ),
                    f"{run}-campaign-{number}",
                )
                for number, items in enumerate(plan.campaigns(), start=1)
            )
        )
        await self._until_all(is_filled, self.filled)
        await self._put_out()

    async def clear(self) -> None:
        """End the campaigns, and wait until the book has back what nobody bought.

        Raises:
            Unavailable: it did not get it back, and nothing moved for a minute.
        """
        for code in self._campaigns:
            await self._keeper.end_campaign(code)
        await self._until_all(is_clear, self.cleared)

    async def prove(self) -> tuple[BookFindings, StockIdentity]:
        """Hold the book against the account, and have it prove itself."""
        found = BookFindings()
        plan = self._stocking
        balances = [
            balance
            for location in (plan.warehouse, plan.store)
            async for balance in self._keeper.balances(location)
        ]
        names = {sku: plan.name(sku) for sku in plan.units}
        compare_balances(self._account, names, balances, found)
        if self._campaigns:
            since = min(campaign.created_at for campaign in self._campaigns.values())
            orders = [order async for order in self._keeper.orders_since(since)]
            compare_orders(self._account.till, orders, found)
        return found, await self._keeper.stock_identity()

    async def _receive(self) -> None:
        keeper, plan = self._keeper, self._stocking
        for place in plan.locations():
            await keeper.put_location(
                place.code, kind=place.kind, priority=place.priority, regions=place.regions
            )
        if plan.units:
            await keeper.import_skus(plan.sku_file(), f"{plan.run}-skus")
        sku_of = {plan.name(sku): sku for sku in plan.units}
        for number, lines in enumerate(plan.receipts(), start=1):
            key = f"{plan.run}-receive-{number}"
            await keeper.move("receive", lines, key, reason="stock of the day", reference=plan.run)
            for line in lines:
                self._account.received[sku_of[line.sku]] += line.quantity

    async def _put_out(self) -> None:
        """Say what is sold from which pool; what never came has an empty one of its own."""
        plan = self._stocking
        sku_of = {plan.name(sku): sku for sku in plan.units}
        for campaign in self._campaigns.values():
            for shelf in campaign.items:
                units = shelf.counters.total if shelf.counters else 0
                self._account.open(sku_of[shelf.sku], shelf.pool, units)
        for sku in plan.never_received():
            name = plan.name(sku)
            await self._keeper.open_pool(PoolOrder(id=name, sku=name, quantity=0))
            self._account.open(sku, name, 0)

    async def _until_all(self, is_done: Callable[[Shelf], bool], done: set[str]) -> None:
        """Until every pool is done, as its campaign shows it.

        One campaign is looked at at a time: looking at a hundred pools and what is under way for
        them takes from the service what it needs for carrying units.
        """
        loop = asyncio.get_running_loop()
        waiting, moved_at = deque(self._campaigns), loop.time()
        while waiting:
            code, looked_at = waiting.popleft(), loop.time()
            campaign = self._campaigns[code] = await self._keeper.campaign(code)
            now_done = {shelf.pool for shelf in campaign.items if is_done(shelf)}
            if not now_done <= done:
                done |= now_done
                moved_at = loop.time()
            if len(now_done) == len(campaign.items):
                continue
            waiting.append(code)
            if loop.time() - moved_at > STALLED_SECONDS:
                raise Unavailable(f"{len(waiting)} campaigns wait for their pools; nothing moves")
            looking = loop.time() - looked_at
            await asyncio.sleep(max(POLL_SECONDS, looking * (POLL_SHARE - 1)))


def is_filled(shelf: Shelf) -> bool:
    """Whether a pool has its units and sells."""
    return shelf.counters is not None and not shelf.in_flight


def is_clear(shelf: Shelf) -> bool:
    """Whether a pool that was ended has nothing left to sell, and the book knows. What buyers
    hold keeps its last command under way."""
    counters = shelf.counters
    if counters is None or counters.available or counters.locked:
        return False
    return not shelf.in_flight or counters.held > 0
