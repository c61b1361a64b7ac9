"""What is shown of campaigns: as SQL has it, of one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.campaigns import records
from flashstock.campaigns.steps import item_pool
from flashstock.campaigns.tables import (
    campaign_audit,
    campaign_items,
    campaign_revisions,
    campaigns,
)
from flashstock.campaigns.terms import (
    Campaign,
    Item,
    Revision,
    State,
    Status,
    gift_pool_of,
    state_of,
)
from flashstock.errors import UnknownCampaignItem
from flashstock.ledger.engine import reading
from flashstock.ledger.tables import orders, pools
from flashstock.stockbook.pool_commands import PoolCommandKind, PoolCommandState
from flashstock.stockbook.pool_flights import one_moment
from flashstock.stockbook.tables import allocations, pool_commands

_FILLING = (PoolCommandKind.CREATE.value, PoolCommandKind.ADD.value, PoolCommandKind.RULES.value)


@dataclass(frozen=True, slots=True)
class Shelf:
    """A pool of a campaign: its counters (``None`` while SQL has not heard of it), and the rest.

    ``flying`` has the ids of the commands that are under way for it, ``places`` the units of each
    SKU that are set aside for it at each location.
    """

    pool: str
    counters: Mapping[str, int] | None
    flying: tuple[str, ...] = ()
    places: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ShownItem:
    item: Item
    shelf: Shelf
    gifts: tuple[Shelf, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownCampaign:
    """A campaign, its newest revision, and the one in force with its pools (if any)."""

    campaign: Campaign
    state: State
    latest: Revision
    live: Revision | None
    items: tuple[ShownItem, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the audit."""

    number: int
    revision: int
    action: str
    detail: str
    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an item was, from one moment to another (0: still)."""

    code: str
    revision: int
    from_ms: int
    until_ms: int
    pool: str
    item: Item


class CampaignViews:
    """Reads. Every method raises ``LedgerUnavailable``.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def show(self, code: str) -> ShownCampaign:
        """Raises ``UnknownCampaign``."""
        async with one_moment(self._engine) as connection:
            campaign = await records.find(connection, code)
            latest = await records.revision_of(connection, code, campaign.latest_revision)
            live = None
            if campaign.live_revision:
                live = await records.revision_of(connection, code, campaign.live_revision)
            items = await _shown_items(connection, code, live) if live else ()
            filling = await _filling(connection, [item.shelf.pool for item in items])
        state = state_of(campaign, latest.state, self._clock(), is_filled=not filling)
        return ShownCampaign(campaign, state, latest, live, items)

    async def page(
        self, after: str, limit: int, status: Status | None = None
    ) -> list[ShownCampaign]:
        """Campaigns by code, without their pools."""
        statement = select(campaigns).where(campaigns.c.code > after)
        if status is not None:
            statement = statement.where(campaigns.c.status == status.value)
        statement = statement.order_by(campaigns.c.code).limit(limit)
        async with one_moment(self._engine) as connection:
            found = [records.campaign_of(row) for row in await connection.execute(statement)]
            if not found:
                return []
            wanted = [(campaign.code, campaign.latest_revision) for campaign in found]
            latest = await records.revisions_of(connection, wanted)
            in_force = [(c.code, c.live_revision) for c in found if c.live_revision]
            live = dict(
                zip(
                    [code for code, _ in in_force],
                    await records.revisions_of(connection, in_force) if in_force else [],
                    strict=True,
                )
            )
            filling = await _filling(
                connection,
                [item_pool(code, r, item) for code, r in live.items() for item in r.terms.items],
            )
        now_ms = self._clock()
        return [
            ShownCampaign(
                campaign,
                state_of(
                    campaign,
                    newest.state,
                    now_ms,
                    is_filled=not any(
                        item_pool(campaign.code, live[campaign.code], item) in filling
                        for item in live[campaign.code].terms.items
                    )
                    if campaign.code in live
                    else False,
                ),
                newest,
                live.get(campaign.code),
            )
            for campaign, newest in zip(found, latest, strict=True)
        ]

    async def steps(self, code: str, after: int, limit: int) -> list[Step]:
        """The audit, oldest first. Raises ``UnknownCampaign``."""
        statement = (
            select(campaign_audit)
            .where(campaign_audit.c.code == code, campaign_audit.c.number > after)
            .order_by(campaign_audit.c.number)
            .limit(limit)
        )
        async with reading(self._engine) as connection:
            rows = (await connection.execute(statement)).all()
            if not rows:
                await records.find(connection, code)
        return [
            Step(row.number, row.revision, row.action, row.detail, row.actor, row.at_ms)
            for row in rows
        ]

    async def item_at(self, code: str, number: int, at_ms: int | None) -> Snapshot:
        """What an item was at a moment (``None``: now), by the revision that was in force.

        Raises:
            UnknownCampaign, UnknownCampaignItem: there was no such item then.
        """
        columns = campaign_revisions.c
        at_ms = self._clock() if at_ms is None else at_ms
        statement = _SNAPSHOTS.where(
            columns.code == code,
            campaign_items.c.item == number,
            columns.in_force_from_ms <= at_ms,
            columns.in_force_from_ms > 0,
        ).order_by(columns.revision.desc())
        async with reading(self._engine) as connection:
            row = (await connection.execute(statement.limit(1))).first()
            if row is None or 0 < row.in_force_until_ms <= at_ms:
                await records.find(connection, code)
                raise UnknownCampaignItem(
                    f"{code} had no item {number} in force then", campaign=code, item=number
                )
        return _snapshot(row)

    async def sold_as(self, order_no: str) -> Snapshot | None:
        """What an order bought: the item as it was when it was paid for.

        ``None`` where there is no such order, or it is of no campaign.
        """
        async with reading(self._engine) as connection:
            order = (
                await connection.execute(select(orders).where(orders.c.order_no == order_no))
            ).first()
            if order is None:
                return None
            statement = _SNAPSHOTS.where(
                campaign_items.c.pool == order.pool, campaign_revisions.c.in_force_from_ms > 0
            ).order_by(campaign_revisions.c.revision)
            rows: Sequence[Any] = (await connection.execute(statement)).all()
        # A payment may come a moment before the first revision by another clock, or after the end.
        fitting = [row for row in rows if row.in_force_from_ms <= order.confirmed_at_ms]
        chosen = fitting[-1] if fitting else next(iter(rows), None)
        return None if chosen is None else _snapshot(chosen)


_SNAPSHOTS = select(
    campaign_items, campaign_revisions.c.in_force_from_ms, campaign_revisions.c.in_force_until_ms
).join(
    campaign_revisions,
    (campaign_revisions.c.code == campaign_items.c.code)
    & (campaign_revisions.c.revision == campaign_items.c.revision),
)


def _snapshot(row: Any) -> Snapshot:
    return Snapshot(
        row.code,
        row.revision,
        row.in_force_from_ms,
        row.in_force_until_ms,
        row.pool,
        records.item_of(row),
    )


async def _filling(connection: AsyncConnection, names: Sequence[str]) -> set[str]:
    """Those of the pools that have not got all that was set aside for them, or not their rules."""
    if not names:
        return set()
    statement = select(pool_commands.c.pool).where(
        pool_commands.c.state == PoolCommandState.PENDING.value,
        pool_commands.c.kind.in_(_FILLING),
        pool_commands.c.pool.in_(names),
    )
    return set((await connection.execute(statement)).scalars())


async def _shown_items(
    connection: AsyncConnection, code: str, live: Revision
) -> tuple[ShownItem, ...]:
    items = live.terms.items
    names = {item.number: item_pool(code, live, item) for item in items}
    gifts = {
        item.number: [gift_pool_of(code, item.number, gift.tier) for gift in item.gifts]
        for item in items
    }
    wanted = [*names.values(), *(pool for group in gifts.values() for pool in group)]
    shelves = await shelves_of(connection, wanted)
    return tuple(
        ShownItem(
            item,
            shelves[names[item.number]],
            tuple(shelves[pool] for pool in gifts[item.number]),
        )
        for item in items
    )


async def shelves_of(connection: AsyncConnection, names: Sequence[str]) -> dict[str, Shelf]:
    """Pools with what is under way for them."""
    rows = await connection.execute(select(pools).where(pools.c.id.in_(names)))
    counters = {
        row.id: {
            "total": row.total,
            "available": row.total - row.held - row.sold - row.locked,
            "held": row.held,
            "sold": row.sold,
            "locked": row.locked,
        }
        for row in rows
    }
    flying: dict[str, list[str]] = {}
    statement = (
        select(pool_commands.c.pool, pool_commands.c.id)
        .where(
            pool_commands.c.state == PoolCommandState.PENDING.value,
            pool_commands.c.pool.in_(names),
        )
        .order_by(pool_commands.c.created_at_ms)
    )
    for row in await connection.execute(statement):
        flying.setdefault(row.pool, []).append(row.id)
    places: dict[str, list[tuple[str, str, int]]] = {}
    kept = select(allocations).where(allocations.c.pool.in_(names))
    for row in await connection.execute(kept.order_by(allocations.c.sku, allocations.c.location)):
        if row.quantity:
            places.setdefault(row.pool, []).append((row.sku, row.location, row.quantity))
    return {
        name: Shelf(
            name,
            counters.get(name),
            tuple(flying.get(name, ())),
            tuple(places.get(name, ())),
        )
        for name in names
    }


__all__ = ["CampaignViews", "Shelf", "ShownCampaign", "ShownItem", "Snapshot", "Step"]
