"""The identities of the stock book, proved as of one moment.

Per location   ``S = I - O - U - L - campaign - reserved - bought out + V - T``
Company        ``sum(I) + A`` = all that came from outside, less all that went there
Balances       what all movements add up to; they were added up twice, by SKU and by flow
Campaign       what stands in ``campaign`` is what allocations say, SKU by SKU
Pools          what was allocated is what the pools account for, with what is in flight between
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import LONG_OPERATION_TIMEOUT_MS
from flashstock.model.stock import (
    ON_HAND,
    OUTSIDE,
    PHYSICAL,
    Posting,
    StockState,
    balance_deltas,
)
from flashstock.stockbook.identity_queries import (
    campaign_differences,
    flow_differences,
    fold_differences,
)
from flashstock.stockbook.pool_flights import Flight, PoolFlights
from flashstock.stockbook.snapshot import snapshot
from flashstock.stockbook.tables import BALANCE_COLUMNS, stock_balances, stock_flows

DIFFERENCES_SHOWN_MAX: Final = 100
IN_FLIGHT_SHOWN_MAX: Final = 100

Totals = Mapping[str, int]
"""Units by the names of the balances."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where something does not hold: the invariant's name, and what was compared."""

    invariant: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LocationTotals:
    """A location's balances added up, and what the identity says ``available`` should be."""

    location: str
    units: Totals

    @property
    def expected_available(self) -> int:
        """``I + V`` less everything else that is there."""
        others = (state.value for state in PHYSICAL if state is not StockState.AVAILABLE)
        return self.units[ON_HAND] + self.units["virtual"] - sum(self.units[o] for o in others)


@dataclass(frozen=True, slots=True)
class IdentityReport:
    """What was found. ``in_flight``: what is between the book and the pools, oldest first."""

    at_ms: int
    deep: bool
    company: Totals
    from_outside: int
    to_outside: int
    locations: tuple[LocationTotals, ...]
    in_flight: tuple[Flight, ...]
    invariants: Mapping[str, bool]
    differences_count: int
    differences: tuple[Difference, ...] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        return all(self.invariants.values())


INVARIANTS: Final = ("identity", "company", "flows", "campaign", "pools")
DEEP_INVARIANTS: Final = ("fold", "flows_fold")


class Identity:
    """Proves the stock book.

    Args:
        flights: knows what is between the book and the pools.
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, flights: PoolFlights, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._flights = flights
        self._clock = clock

    async def prove(self, *, deep: bool = False) -> IdentityReport:
        """Compare everything: the book as of one moment, then the pools as of the next.

        Args:
            deep: add up every movement there ever was; without it, the flows stand for them.

        Raises:
            LedgerUnavailable: the database did not answer in time.
        """
        names = (*INVARIANTS, *DEEP_INVARIANTS) if deep else INVARIANTS
        found = _Findings(dict.fromkeys(names, True))
        at_ms = self._clock()
        async with snapshot(self._engine, LONG_OPERATION_TIMEOUT_MS) as connection:
            await _rows_that_do_not_add_up(connection, found)
            here = await _by_location(connection)
            flows = await _flows(connection)
            _compare_flows(here, flows, found)
            for row in await campaign_differences(connection, DIFFERENCES_SHOWN_MAX + 1):
                found.add("campaign", **row)
            if deep:
                for row in await fold_differences(connection, DIFFERENCES_SHOWN_MAX + 1):
                    found.add("fold", **row)
                for row in await flow_differences(connection, DIFFERENCES_SHOWN_MAX + 1):
                    found.add("flows_fold", **row)
        for one in await self._flights.differences():
            found.add("pools", **asdict(one))
        in_flight = await self._flights.page((-1, ""), IN_FLIGHT_SHOWN_MAX)
        locations = tuple(LocationTotals(name, units) for name, units in sorted(here.items()))
        for here_now in locations:
            if here_now.units["available"] != here_now.expected_available:
                found.add(
                    "identity",
                    location=here_now.location,
                    available=here_now.units["available"],
                    expected=here_now.expected_available,
                )
        company = {name: sum(units[name] for units in here.values()) for name in BALANCE_COLUMNS}
        from_outside, to_outside = _outside(flows)
        owned = company[ON_HAND] + company["in_transit"]
        if owned != from_outside - to_outside:
            found.add("company", balances=owned, outside=from_outside - to_outside)
        return IdentityReport(
            at_ms=at_ms,
            deep=deep,
            company=company,
            from_outside=from_outside,
            to_outside=to_outside,
            locations=locations,
            in_flight=tuple(in_flight),
            invariants=found.invariants,
            differences_count=found.count,
            differences=tuple(found.differences),
        )


@dataclass
class _Findings:
    invariants: dict[str, bool]
    count: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, invariant: str, **detail: Any) -> None:
        self.invariants[invariant] = False
        self.count += 1
        if len(self.differences) < DIFFERENCES_SHOWN_MAX:
            self.differences.append(Difference(invariant, detail))


async def _rows_that_do_not_add_up(connection: AsyncConnection, found: _Findings) -> None:
    """The CHECKs promise that there are none; a database that was restored by hand may differ."""
    columns = stock_balances.c
    everything = sum((columns[state.value] for state in PHYSICAL[1:]), columns[PHYSICAL[0].value])
    statement = (
        select(columns.sku, columns.location)
        .where(
            or_(
                everything != columns.on_hand + columns.virtual,
                columns.virtual > columns.virtual_allowance,
                *(columns[name] < 0 for name in BALANCE_COLUMNS),
            )
        )
        .limit(DIFFERENCES_SHOWN_MAX + 1)
    )
    for row in await connection.execute(statement):
        found.add("identity", sku=row.sku, location=row.location)


async def _by_location(connection: AsyncConnection) -> dict[str, Totals]:
    sums = [func.sum(stock_balances.c[name]).label(name) for name in BALANCE_COLUMNS]
    statement = select(stock_balances.c.location, *sums).group_by(stock_balances.c.location)
    rows = [row._asdict() for row in await connection.execute(statement)]
    return {row["location"]: {name: int(row[name]) for name in BALANCE_COLUMNS} for row in rows}


async def _flows(connection: AsyncConnection) -> list[Posting]:
    """All postings of a location with the same states, as one; of no SKU in particular."""
    rows = await connection.execute(select(stock_flows))
    return [
        Posting("", row.location, StockState(row.source), StockState(row.target), row.quantity)
        for row in rows
    ]


def _compare_flows(here: Mapping[str, Totals], flows: list[Posting], found: _Findings) -> None:
    folded: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(BALANCE_COLUMNS, 0))
    on_the_way = 0
    for flow in flows:
        for name, delta in balance_deltas(flow).items():
            folded[flow.location][name] += delta
        on_the_way += flow.quantity * (
            (flow.target is StockState.TRANSFER) - (flow.source is StockState.TRANSFER)
        )
    nothing = dict.fromkeys(BALANCE_COLUMNS, 0)
    for location in sorted({*here, *folded}):
        balances, moved = here.get(location, nothing), folded.get(location, nothing)
        for name in BALANCE_COLUMNS:
            if balances[name] != moved[name]:
                found.add(
                    "flows",
                    location=location,
                    balance=name,
                    units=balances[name],
                    moved=moved[name],
                )
    if on_the_way:
        found.add("flows", between_locations=on_the_way)


def _outside(flows: list[Posting]) -> tuple[int, int]:
    came = sum(flow.quantity for flow in flows if flow.source in OUTSIDE)
    went = sum(flow.quantity for flow in flows if flow.target in OUTSIDE)
    return came, went
