"""What SQL itself compares: rows of which one side is not what the other side says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    case,
    func,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.model.stock import Posting, StockState, balance_deltas
from flashstock.stockbook.tables import (
    BALANCE_COLUMNS,
    allocations,
    stock_balances,
    stock_flows,
    stock_movements,
)

_ZERO: Final[ColumnElement[int]] = literal_column("0")


async def campaign_differences(connection: AsyncConnection, limit: int) -> list[dict[str, Any]]:
    """SKUs at locations of which the allocations add up to other than what is in campaign."""
    both = union_all(
        select(
            stock_balances.c.sku,
            stock_balances.c.location,
            stock_balances.c.campaign.label("campaign"),
            _ZERO.label("allocated"),
        ).where(stock_balances.c.campaign != 0),
        select(
            allocations.c.sku,
            allocations.c.location,
            _ZERO.label("campaign"),
            allocations.c.quantity.label("allocated"),
        ),
    ).subquery()
    campaign, allocated = func.sum(both.c.campaign), func.sum(both.c.allocated)
    statement = (
        select(both.c.sku, both.c.location, campaign, allocated)
        .group_by(both.c.sku, both.c.location)
        .having(campaign != allocated)
        .order_by(both.c.sku, both.c.location)
        .limit(limit)
    )
    return [
        {"sku": sku, "location": location, "campaign": int(there), "allocated": int(said)}
        for sku, location, there, said in await connection.execute(statement)
    ]


async def fold_differences(connection: AsyncConnection, limit: int) -> list[dict[str, Any]]:
    """SKUs at locations whose balances are not the sum of all their movements."""
    moved = _folded(_summed_movements())
    names = BALANCE_COLUMNS
    both = union_all(
        select(stock_balances.c.sku, stock_balances.c.location, *_twice(stock_balances.c, "units")),
        select(moved.c.sku, moved.c.location, *_twice(moved.c, "moved")),
    ).subquery()
    sums = [func.sum(both.c[f"{name}_{side}"]) for name in names for side in ("units", "moved")]
    differs = or_(*(sums[at] != sums[at + 1] for at in range(0, len(sums), 2)))
    statement = (
        select(both.c.sku, both.c.location, *sums)
        .group_by(both.c.sku, both.c.location)
        .having(differs)
        .order_by(both.c.sku, both.c.location)
        .limit(limit)
    )
    differences = []
    for row in await connection.execute(statement):
        units, moves = row[2::2], row[3::2]
        differences += [
            {
                "sku": row[0],
                "location": row[1],
                "balance": name,
                "units": int(there),
                "moved": int(said),
            }
            for name, there, said in zip(names, units, moves, strict=True)
            if there != said
        ]
    return differences


async def flow_differences(connection: AsyncConnection, limit: int) -> list[dict[str, Any]]:
    """Flows that are not the sum of the movements they stand for."""
    by = ("location", "source", "target")
    both = union_all(
        select(
            *(stock_flows.c[name] for name in by),
            stock_flows.c.quantity.label("units"),
            _ZERO.label("moved"),
        ),
        select(
            *(stock_movements.c[name] for name in by),
            _ZERO.label("units"),
            func.sum(stock_movements.c.quantity).label("moved"),
        ).group_by(*(stock_movements.c[name] for name in by)),
    ).subquery()
    units, moved = func.sum(both.c.units), func.sum(both.c.moved)
    columns = [both.c[name] for name in by]
    statement = (
        select(*columns, units, moved).group_by(*columns).having(units != moved).limit(limit)
    )
    return [
        {
            "location": row[0],
            "source": row[1],
            "target": row[2],
            "units": int(row[3]),
            "moved": int(row[4]),
        }
        for row in await connection.execute(statement)
    ]


def _twice(columns: Any, side: str) -> list[ColumnElement[Any]]:
    """Each balance under both names, of which one is 0: so one GROUP BY compares two tables."""
    return [
        (columns[name] if side == which else _ZERO).label(f"{name}_{which}")
        for name in BALANCE_COLUMNS
        for which in ("units", "moved")
    ]


def _summed_movements() -> Subquery:
    """One row for each SKU, location and pair of states: far fewer than there are movements."""
    by = [stock_movements.c[name] for name in ("sku", "location", "source", "target")]
    quantity = func.sum(stock_movements.c.quantity).label("quantity")
    return select(*by, quantity).group_by(*by).subquery()


def _folded(summed: Subquery) -> Subquery:
    """What the model says each posting does to each balance, added up by the database."""
    sums = []
    for name in BALANCE_COLUMNS:
        shares = [
            case((summed.c[side].in_(states), factor * summed.c.quantity), else_=_ZERO)
            for side, effects in (("source", _effects(name, 0)), ("target", _effects(name, 1)))
            for factor, states in effects.items()
        ]
        sums.append(func.sum(sum(shares[1:], start=shares[0])).label(name))
    cell = (summed.c.sku, summed.c.location)
    statement: Select[Any] = select(*cell, *sums).group_by(*cell)
    return statement.subquery()


def _effects(name: str, side: int) -> Mapping[int, list[str]]:
    """By how much one unit changes a balance, for the states on one side of a posting."""
    effects: dict[int, list[str]] = {}
    for state in StockState:
        outside = StockState.SUPPLIER
        states = (state, outside) if side == 0 else (outside, state)
        if state is outside:
            continue
        delta = balance_deltas(Posting("", "", *states, 1)).get(name, 0)
        if delta:
            effects.setdefault(delta, []).append(state.value)
    return effects
