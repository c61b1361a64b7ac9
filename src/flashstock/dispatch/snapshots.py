"""What an order was promised, and whether it is paid in full: read from the campaigns' tables.

They are asked for by name, because campaigns and dispatch do not know each other; without campaigns
nothing was promised, and an order is paid when it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.dispatch.orders import Sale
from flashstock.ledger.seat_prices import seat_prices
from flashstock.ledger.tables import metadata

ITEMS: Final = "campaign_items"
REVISIONS: Final = "campaign_revisions"
BALANCES: Final = "campaign_balances"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was bought, as the campaign's revision said when it was paid for.

    ``price_minor`` is a unit's: of a group with price tiers what the group reached, once it formed.
    ``balance_due_minor`` is what a presale's second payment still has to bring.
    """

    campaign: str
    revision: int
    title: str
    price_minor: int
    currency: str
    balance_due_minor: int = 0


async def snapshot_of(connection: AsyncConnection, sale: Sale) -> Snapshot | None:
    """What an order was promised; ``None`` where its pool is no campaign's."""
    items, revisions = metadata.tables.get(ITEMS), metadata.tables.get(REVISIONS)
    if items is None or revisions is None:
        return None
    same = (revisions.c.code == items.c.code) & (revisions.c.revision == items.c.revision)
    statement = (
        select(items, revisions.c.in_force_from_ms)
        .join_from(items, revisions, same)
        .where(items.c.pool == sale.pool, revisions.c.in_force_from_ms > 0)
        .order_by(items.c.revision)
    )
    rows = (await connection.execute(statement)).all()
    if not rows:
        return None
    # A payment may come a moment before the first revision, by another clock.
    in_force = [row for row in rows if row.in_force_from_ms <= sale.paid_at_ms]
    row = in_force[-1] if in_force else rows[0]
    due_minor = (row.price_minor - row.deposit_minor) * sale.quantity if row.presale else 0
    if due_minor and await _is_paid(connection, sale):
        due_minor = 0
    reached = (await seat_prices(connection, [sale.reservation_id])).get(sale.reservation_id)
    price_minor = row.price_minor if reached is None else reached
    return Snapshot(row.code, row.revision, row.title, price_minor, row.currency, max(0, due_minor))


async def _is_paid(connection: AsyncConnection, sale: Sale) -> bool:
    balances: Table | None = metadata.tables.get(BALANCES)
    if balances is None:
        return False
    paid = select(balances.c.order_no).where(balances.c.order_no == sale.order_no)
    return (await connection.execute(paid)).first() is not None
