"""What time alone brings about: campaigns that are over, and units that come back after the end.

Exactness does not depend on it: pools open, release their waves and close by their own clock.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.campaigns.course import CampaignCourse
from flashstock.campaigns.records import item_of
from flashstock.campaigns.tables import campaign_gift_cursors, campaign_items, campaigns
from flashstock.campaigns.terms import Status, gift_pool_of
from flashstock.ledger.engine import reading
from flashstock.ledger.tables import pools
from flashstock.model.states import PoolState
from flashstock.rounds import costs_one_round
from flashstock.stockbook import pool_transfers
from flashstock.stockbook.pool_commands import (
    PoolCommandKind,
    PoolCommandState,
    command_of,
    shard_in_sql,
)
from flashstock.stockbook.tables import allocations, pool_commands

logger = logging.getLogger(__name__)

ACTOR: Final = "flashstock"
INTERVAL_S: Final = 0.5
PAGE: Final = 100
_ENDED: Final = (Status.ENDED.value, Status.VOID.value)


class CampaignClosing(CampaignCourse):
    """Runs beside the writer; several of them do no harm, and one that dies is no loss."""

    async def run(self) -> None:
        """Look again and again until cancelled; a failure costs one round."""
        while True:
            with costs_one_round(logger, "campaigns are not looked after now", logging.DEBUG):
                await self.round()
            await asyncio.sleep(INTERVAL_S)

    async def round(self) -> bool:
        """One look at everything; True where something was to be done."""
        ended = await self._end_those_over()
        gifts = await self._end_gifts()
        strays = await self._gather_strays()
        return bool(ended + gifts + strays)

    async def _end_those_over(self) -> int:
        due = select(campaigns.c.code).where(
            campaigns.c.status.in_([Status.APPROVED.value, Status.PAUSED.value]),
            campaigns.c.ends_at_ms <= self._clock(),
        )
        async with reading(self._engine) as connection:
            if (await connection.execute(due.limit(1))).first() is None:
                return 0
        return await self.end_those_over(ACTOR)

    async def _end_gifts(self) -> int:
        """Gifts are given until the last payment that reached an item was looked at."""
        wound_down = pool_commands.alias("wound_down")
        statement = (
            select(campaign_items, wound_down.c.id.label("end_id"))
            .join(campaigns, campaigns.c.code == campaign_items.c.code)
            .join(wound_down, wound_down.c.pool == campaign_items.c.pool)
            .where(
                campaigns.c.status.in_(_ENDED),
                campaigns.c.live_revision == campaign_items.c.revision,
                campaign_items.c.gifts != "[]",
                wound_down.c.kind == PoolCommandKind.WIND_DOWN.value,
                wound_down.c.state == PoolCommandState.APPLIED.value,
                ~exists().where(
                    pool_commands.c.id == "campaign/" + campaign_items.c.pool + "/gifts-end"
                ),
            )
            .limit(PAGE)
        )
        async with reading(self._engine) as connection:
            rows = (await connection.execute(statement)).all()
        count = 0
        for row in rows:
            async with self._locked() as connection:
                if await _all_paid_orders_seen(connection, row.end_id):
                    await self._wind_gifts_down(connection, row)
                    count += 1
        return count

    async def _wind_gifts_down(self, connection: AsyncConnection, row: Any) -> None:
        at_ms = self._clock()
        first, *others = [gift_pool_of(row.code, row.item, g.tier) for g in item_of(row).gifts]
        commands = {f"campaign/{row.pool}/gifts-end": first}
        commands |= {f"campaign/{pool}/end": pool for pool in others}
        for command, pool in commands.items():
            await pool_transfers.wind_down(
                connection, command, pool, at_ms, early=True, actor=ACTOR
            )

    async def _gather_strays(self) -> int:
        """Units that came back into a pool when it had been wound down: a late return."""
        busy = exists().where(
            pool_commands.c.pool == pools.c.id,
            pool_commands.c.state == PoolCommandState.PENDING.value,
        )
        statement = (
            select(pools.c.id)
            .where(
                pools.c.state == PoolState.CLOSED.value,
                pools.c.total > pools.c.held + pools.c.sold,
                exists().where(allocations.c.pool == pools.c.id),
                ~busy,
            )
            .limit(PAGE)
        )
        async with reading(self._engine) as connection:
            names = list((await connection.execute(statement)).scalars())
        for pool in names:
            async with self._locked() as connection:
                earlier = await connection.execute(
                    select(pool_commands).where(
                        pool_commands.c.pool == pool,
                        pool_commands.c.kind == PoolCommandKind.WIND_DOWN.value,
                    )
                )
                ends = [command_of(row) for row in earlier]
                if any(end.state is PoolCommandState.PENDING for end in ends):
                    continue
                virtual = any(end.virtual for end in ends)
                command = f"stray/{pool}/{len(ends)}"
                await pool_transfers.wind_down(
                    connection, command, pool, self._clock(), virtual=virtual, actor=ACTOR
                )
        return len(names)


async def _all_paid_orders_seen(connection: AsyncConnection, end_id: str) -> bool:
    """Whether the gifts' look at the journal has come beyond the end of the item's pool."""
    found = await connection.execute(select(pool_commands).where(pool_commands.c.id == end_id))
    end = command_of(found.one())
    shard = await shard_in_sql(connection, end.pool)
    seen = await connection.execute(
        select(campaign_gift_cursors.c.seq).where(campaign_gift_cursors.c.shard == shard)
    )
    return (seen.scalar() or 0) >= end.after_seq
