"""What seats of groups with price tiers cost, once it is known which tier their group reached."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.tables import IS_SEAT, groups, reservations
from flashstock.model.group_records import group_id
from flashstock.model.group_rules import parse_group_rules
from flashstock.model.states import GroupState


async def seat_prices(
    connection: AsyncConnection, reservation_ids: Collection[str]
) -> dict[str, int | None]:
    """The price of a unit, in minor units, of those of these that are seats under price tiers.

    A group that formed is full, so its tier is that of its size. Before that, and where it failed,
    nobody can say what a member paid: ``None``. Reservations without tiers are missing.
    """
    rows = await connection.execute(
        select(reservations.c.id, reservations.c.pool, reservations.c.cart).where(
            reservations.c.id.in_(reservation_ids), text(IS_SEAT)
        )
    )
    group_of = {row.id: group_id(row.pool, row.cart) for row in rows}
    if not group_of:
        return {}
    found = await connection.execute(
        select(groups.c.id, groups.c.rules, groups.c.state).where(
            groups.c.id.in_(set(group_of.values()))
        )
    )
    price_of: dict[str, int | None] = {}
    for group in found:
        rules = parse_group_rules(group.rules)
        if rules.tiers:
            tier = rules.tier_at(rules.size) if group.state == GroupState.FORMED else None
            price_of[group.id] = tier.price_minor if tier else None
    return {seat: price_of[group] for seat, group in group_of.items() if group in price_of}
