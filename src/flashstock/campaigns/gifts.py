"""Gifts: which one a paid order gets is decided once, in order of payment, while they last.

The tier that is being asked stands in SQL before its pool is asked, and the pool is asked under a
digest of the order: so whoever goes on after a crash asks the same again. A hold in a tier counts
only when SQL says that this tier is the one; a hold that loses this race is never confirmed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.campaigns.gift_watch import find_paid_orders
from flashstock.campaigns.records import find, item_of
from flashstock.campaigns.tables import campaign_gifts, campaign_items, campaigns
from flashstock.campaigns.terms import GIFTS_ONLY, gift_pool_of
from flashstock.errors import FlashstockError, Unavailable
from flashstock.hotpath.replies import BatchReply, ReservationReply
from flashstock.hotpath.scripts import ConfirmStatus, Verdict
from flashstock.ledger.engine import reading, writing
from flashstock.ledger.tables import orders
from flashstock.model.eligibility import Attests
from flashstock.model.ids import ReservationId, digest_of
from flashstock.model.states import ReservationState
from flashstock.rounds import costs_one_round
from flashstock.stockbook.pool_commands import PoolCommandKind, PoolCommandState
from flashstock.stockbook.tables import pool_commands

logger = logging.getLogger(__name__)

BUSY_INTERVAL_S: Final = 0.02
IDLE_INTERVAL_S: Final = 0.5
PAGE: Final = 200
_ATTESTS: Final = Attests(channel=GIFTS_ONLY).packed()


class GiftState(StrEnum):
    DECIDING = "deciding"
    """The pool of this tier is being asked."""
    HELD = "held"
    """A gift of this tier is set aside for the order."""
    GIVEN = "given"
    NONE = "none"
    """None was left in any tier."""


@dataclass(frozen=True, slots=True)
class GivenGift:
    """What an order got. ``gift_order_no`` is the order under which the gift is shipped."""

    order_no: str
    code: str
    item: int
    state: GiftState
    tier: int
    sku: str
    gift_order_no: str | None
    decided_at_ms: int


class GiftPools(Protocol):
    """What giving needs of the hot path: ``HotStore`` has it."""

    async def reserve(
        self,
        pool_id: str,
        units_wanted: int,
        digests: Sequence[str],
        buyers: Sequence[str],
        quantities: Sequence[str],
        attests: Sequence[str] | None = None,
    ) -> BatchReply: ...

    async def confirm(self, target: ReservationId, payment_ref: str) -> ReservationReply: ...

    async def cancel(self, target: ReservationId, kind: str) -> ReservationReply: ...


class GiftGiver:
    """Runs beside the writer; several of them give no gift twice.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, store: GiftPools, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Give until cancelled; a failure costs one round."""
        while True:
            progress = False
            with costs_one_round(logger, "gifts wait", logging.DEBUG):
                progress = await self.round()
            await asyncio.sleep(BUSY_INTERVAL_S if progress else IDLE_INTERVAL_S)

    async def round(self) -> bool:
        """Look at new payments, and take every open gift a step further; True: there was one."""
        found = await find_paid_orders(self._engine, self._clock())
        open_states = campaign_gifts.c.state.in_(["deciding", "held"])
        statement = (
            select(campaign_gifts)
            .where(open_states)
            .order_by(campaign_gifts.c.paid_seq, campaign_gifts.c.order_no)
            .limit(PAGE)
        )
        async with reading(self._engine) as connection:
            rows = (await connection.execute(statement)).all()
        for row in rows:
            try:
                await self._step(row)
            except Unavailable:
                raise
            except FlashstockError as failure:
                logger.warning("the gift of order %s waits: %s", row.order_no, failure)
        return bool(found or rows)

    async def _step(self, row: Any) -> None:
        target = ReservationId(row.pool, digest_of("gift", row.order_no, row.pool))
        if row.state == GiftState.DECIDING.value:
            await self._ask(row, target)
        else:
            await self._confirm(row, target)

    async def _ask(self, row: Any, target: ReservationId) -> None:
        if await self._is_filling(row.pool):
            return
        reply = await self._store.reserve(
            row.pool, 1, [target.digest], [row.buyer], ["1"], [_ATTESTS]
        )
        verdict = Verdict(reply.verdicts[0] - ord("0"))
        if verdict in (Verdict.HELD, Verdict.REPLAYED):
            if not await self._set(row, state=GiftState.HELD.value):
                await self._let_go_unless_chosen(row, target)
        elif verdict in (Verdict.SOLD_OUT, Verdict.ENDED):
            await self._next_tier(row)
        else:
            logger.info("the gift of order %s waits: %s", row.order_no, verdict.name)

    async def _confirm(self, row: Any, target: ReservationId) -> None:
        async with reading(self._engine) as connection:
            found = await connection.execute(
                select(orders.c.order_no).where(orders.c.reservation_id == str(target))
            )
            gift_order_no = found.scalar()
        if gift_order_no is not None:
            await self._set(row, state=GiftState.GIVEN.value, gift_order_no=gift_order_no)
            return
        reply = await self._store.confirm(target, f"gift:{row.order_no}")
        status = ConfirmStatus(reply.status)
        if status is ConfirmStatus.UNKNOWN:
            # Redis has lost its tail, and the hold with it: ask the same tier once more.
            await self._set(row, state=GiftState.DECIDING.value)
        elif status not in (ConfirmStatus.CONFIRMED, ConfirmStatus.REPLAYED):
            logger.error("the gift of order %s was not given: %s", row.order_no, status.name)
            await self._next_tier(row)

    async def _is_filling(self, pool: str) -> bool:
        """Whether the pool has still to get the gifts that were set aside for it."""
        statement = select(
            exists().where(
                pool_commands.c.pool == pool,
                pool_commands.c.state == PoolCommandState.PENDING.value,
                pool_commands.c.kind != PoolCommandKind.WIND_DOWN.value,
            )
        )
        async with reading(self._engine) as connection:
            return bool((await connection.execute(statement)).scalar())

    async def _next_tier(self, row: Any) -> None:
        statement = select(campaign_items).join(
            campaigns,
            (campaigns.c.code == campaign_items.c.code)
            & (campaigns.c.live_revision == campaign_items.c.revision),
        )
        of_item = (campaign_items.c.code == row.code) & (campaign_items.c.item == row.item)
        async with reading(self._engine) as connection:
            item = (await connection.execute(statement.where(of_item))).first()
        gifts = sorted(item_of(item).gifts, key=lambda gift: gift.tier) if item is not None else []
        later = next((gift for gift in gifts if gift.tier > row.tier), None)
        if later is None:
            await self._set(row, state=GiftState.NONE.value)
            return
        pool = gift_pool_of(row.code, row.item, later.tier)
        changes = {"tier": later.tier, "pool": pool, "sku": later.sku}
        await self._set(row, state=GiftState.DECIDING.value, **changes)

    async def _let_go_unless_chosen(self, row: Any, target: ReservationId) -> None:
        """Another giver has gone on to another tier: what was held here is not wanted."""
        statement = select(campaign_gifts.c.pool).where(campaign_gifts.c.order_no == row.order_no)
        async with reading(self._engine) as connection:
            chosen = (await connection.execute(statement)).scalar()
        if chosen != target.pool:
            await self._store.cancel(target, ReservationState.CANCELLED.value)

    async def _set(self, row: Any, **changes: Any) -> bool:
        """Go on from exactly where the row was read; whoever comes second changes nothing."""
        columns = campaign_gifts.c
        where = (columns.state == row.state) & (columns.tier == row.tier)
        async with writing(self._engine) as connection:
            changed = await connection.execute(
                update(campaign_gifts)
                .where(columns.order_no == row.order_no, where)
                .values(decided_at_ms=self._clock(), **changes)
            )
        return changed.rowcount == 1


class GiftViews:
    """Reads. Every method raises ``LedgerUnavailable``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self, code: str, after: str, limit: int, order_no: str | None = None
    ) -> list[GivenGift]:
        """The gifts of a campaign's orders, by order number, or that of one order.

        Raises ``UnknownCampaign``.
        """
        columns = campaign_gifts.c
        statement = select(campaign_gifts).where(columns.code == code, columns.order_no > after)
        if order_no is not None:
            statement = statement.where(columns.order_no == order_no)
        statement = statement.order_by(columns.order_no).limit(limit)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(statement)).all()
            if not rows:
                await find(connection, code)
        return [
            GivenGift(
                row.order_no,
                row.code,
                row.item,
                GiftState(row.state),
                row.tier,
                row.sku,
                row.gift_order_no,
                row.decided_at_ms,
            )
            for row in rows
        ]
