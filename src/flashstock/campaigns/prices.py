"""What of a campaign others ask for: its pools, and what an order of one should have cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.campaigns.tables import (
    campaign_balances,
    campaign_items,
    campaign_revisions,
    campaigns,
)
from flashstock.errors import UnknownCampaign
from flashstock.ledger.engine import reading
from flashstock.ledger.seat_prices import seat_prices

Money = tuple[int, str]
"""Minor units, and the currency."""


async def pools_of(engine: AsyncEngine, code: str) -> list[tuple[int, str]]:
    """(item, pool) of every item a campaign has or had, gifts left out.

    Raises:
        UnknownCampaign: there is none of this code. LedgerUnavailable.
    """
    async with reading(engine) as connection:
        known = await connection.execute(select(campaigns.c.code).where(campaigns.c.code == code))
        if known.first() is None:
            raise UnknownCampaign(f"there is no campaign {code!r}", campaign=code)
        rows = await connection.execute(
            select(campaign_items.c.item, campaign_items.c.pool)
            .where(campaign_items.c.code == code)
            .distinct()
            .order_by(campaign_items.c.item, campaign_items.c.pool)
        )
        return [(item, pool) for item, pool in rows]


async def amounts_of_orders(
    connection: AsyncConnection, orders: Sequence[Any]
) -> Mapping[str, Money]:
    """What each order's first payment should have been, where a campaign sold it.

    The price is that of the revision in force when the order was paid: of a presale its deposit, of
    a seat under price tiers what its group reached.

    Args:
        orders: rows with ``order_no``, ``reservation_id``, ``pool``, ``quantity`` and
            ``confirmed_at_ms``.

    Returns:
        order number → money; orders of pools that no campaign has, or of no currency, are missing,
        and so are seats of a group that has reached no tier.
    """
    pools = sorted({order.pool for order in orders})
    rows = await connection.execute(
        select(
            campaign_items.c.pool,
            campaign_items.c.price_minor,
            campaign_items.c.deposit_minor,
            campaign_items.c.presale,
            campaign_items.c.currency,
            campaign_revisions.c.in_force_from_ms,
            campaign_revisions.c.in_force_until_ms,
        )
        .join(
            campaign_revisions,
            (campaign_revisions.c.code == campaign_items.c.code)
            & (campaign_revisions.c.revision == campaign_items.c.revision),
        )
        .where(campaign_items.c.pool.in_(pools), campaign_revisions.c.in_force_from_ms > 0)
        .order_by(campaign_items.c.pool, campaign_revisions.c.in_force_from_ms)
    )
    prices: dict[str, list[Any]] = {}
    for row in rows:
        prices.setdefault(row.pool, []).append(row)
    tiered = await seat_prices(connection, [order.reservation_id for order in orders])
    found = {}
    for order in orders:
        price = _at(prices.get(order.pool, ()), order.confirmed_at_ms)
        if price is None or not price.currency:
            continue
        minor = price.deposit_minor if price.presale else price.price_minor
        of_tier = tiered.get(order.reservation_id, minor)
        if of_tier is not None:
            found[order.order_no] = (of_tier * order.quantity, price.currency)
    return found


async def amounts_of_balances(
    connection: AsyncConnection, payment_refs: Sequence[str]
) -> Mapping[str, Money]:
    """Payment reference → money, of the second payments of presale orders that are among these."""
    rows = await connection.execute(
        select(campaign_balances).where(campaign_balances.c.payment_ref.in_(payment_refs))
    )
    return {row.payment_ref: (row.amount_minor, row.currency) for row in rows}


def _at(prices: Sequence[Any], at_ms: int) -> Any | None:
    """The price in force at that time; after all of them, the last."""
    before = [price for price in prices if price.in_force_from_ms <= at_ms]
    return before[-1] if before else (prices[0] if prices else None)


async def exported_items(
    connection: AsyncConnection, after: tuple[str, int], limit: int
) -> Sequence[Any]:
    """Items of each campaign's newest revision, with its terms, by (code, item)."""
    position = (campaign_items.c.code, campaign_items.c.item)
    revision = campaign_revisions.c
    statement = (
        select(
            campaign_items,
            campaigns.c.status,
            revision.name,
            revision.starts_at_ms,
            revision.ends_at_ms,
            revision.per_buyer_limit,
            revision.hold_ms,
        )
        .join(
            campaigns,
            (campaigns.c.code == campaign_items.c.code)
            & (campaigns.c.latest_revision == campaign_items.c.revision),
        )
        .join(
            campaign_revisions,
            (revision.code == campaign_items.c.code)
            & (revision.revision == campaign_items.c.revision),
        )
        .where(tuple_(*position) > tuple_(*after))
        .order_by(*position)
        .limit(limit)
    )
    return (await connection.execute(statement)).all()
