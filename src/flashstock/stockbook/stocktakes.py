"""Stocktakes: a count shows a difference, and nothing moves before somebody else approves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import OwnStocktake, StocktakeOutdated, UnknownStocktake
from flashstock.ledger.engine import reading, writing
from flashstock.model.stock import (
    ON_HAND,
    MovementKind,
    Posting,
    StockCommand,
    StockState,
    balance_deltas,
)
from flashstock.stockbook.arrivals import Arrival, arriving
from flashstock.stockbook.asked import Asked, open_document, payload_text
from flashstock.stockbook.documents import Columns, Documents
from flashstock.stockbook.posting import (
    BOOK_TIMEOUT_MS,
    balances_of,
    lock_book,
    must_exist,
    post,
)
from flashstock.stockbook.tables import (
    stock_commands,
    stock_movements,
    stocktake_counts,
    stocktakes,
)


class StocktakeState(StrEnum):
    """What was decided about a count."""

    COUNTED = "counted"
    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Count:
    """What the book had on hand of a SKU when it was counted, and what was found."""

    sku: str
    expected: int
    counted: int

    @property
    def difference(self) -> int:
        """Units too many (or, negative, too few)."""
        return self.counted - self.expected


@dataclass(frozen=True, slots=True)
class Stocktake:
    """``counted_seq``: the last movement the count knew of; ``decided_at_ms`` 0: nobody has."""

    id: int
    location: str
    reference: str
    state: StocktakeState
    counted_by: str
    counted_at_ms: int
    counted_seq: int
    decided_by: str
    decided_at_ms: int
    reason: str
    counts: tuple[Count, ...] = ()


def _read(head: Columns, counts: Sequence[Columns]) -> Stocktake:
    return Stocktake(**head, counts=tuple(Count(**count) for count in counts))


_STOCKTAKES: Final = Documents(
    "stocktake", stocktakes, stocktake_counts, StocktakeState, _read, UnknownStocktake
)


class Stocktakes:
    """Every method raises ``LedgerUnavailable``.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def count(
        self, asked: Asked, location: str, counted: Mapping[str, int], reference: str = ""
    ) -> tuple[Stocktake, bool]:
        """Note what was found at a location. Nothing moves.

        Returns:
            The stocktake with its differences, and whether it was noted before under this key.

        Raises:
            UnknownSku, UnknownLocation, IdempotencyMismatch.
        """
        found = sorted(counted.items())
        payload = payload_text(location, reference, found)
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            await must_exist(connection, [(sku, location) for sku in counted])
            values = {
                "location": location,
                "reference": reference,
                "state": StocktakeState.COUNTED.value,
                "counted_by": asked.actor,
                "counted_at_ms": self._clock(),
                "counted_seq": await _last_number(connection),
            }
            number, created = await open_document(connection, stocktakes, asked, payload, values)
            if created:
                cells = await balances_of(connection, [(sku, location) for sku in counted])
                on_hand = {sku: row[ON_HAND] for (sku, _), row in cells.items()}
                rows = [
                    {"stocktake": number, "sku": sku, "expected": on_hand.get(sku, 0), "counted": n}
                    for sku, n in found
                ]
                await connection.execute(insert(stocktake_counts), rows)
            return await _STOCKTAKES.one(connection, number), not created

    async def approve(
        self, number: int, approver: str, *, may_approve_own: bool, reason: str = ""
    ) -> tuple[Stocktake, bool]:
        """Book the differences: what is too much arrives, what is missing leaves ``available``.

        Repeating it changes nothing more.

        Returns:
            The stocktake, and whether it was approved before.

        Raises:
            UnknownStocktake: there is none. DocumentClosed: it was rejected.
            OwnStocktake: whoever counted may not approve it.
            StocktakeOutdated: goods of a counted SKU came or went since.
            InsufficientStock: more is missing than is available; free it first (uncommit, take
                it out of a campaign), so that a buyer's units are never booked away.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            found = await _STOCKTAKES.one(connection, number)
            if found.state is StocktakeState.APPROVED:
                return found, True
            _STOCKTAKES.must_be(found, StocktakeState.COUNTED)
            if found.counted_by == approver and not may_approve_own:
                raise OwnStocktake(f"{approver!r} counted it", stocktake=number)
            moved = await _moved_since(connection, found)
            if moved:
                raise StocktakeOutdated(
                    f"goods of {', '.join(map(repr, moved[:10]))} came or went since the count",
                    stocktake=number,
                    skus=moved,
                )
            reference = f"stocktake {number}"
            gains, losses = await _postings(connection, found)
            for kind, postings in (
                (MovementKind.RECEIVE, gains),
                (MovementKind.WRITE_OFF, losses),
            ):
                if postings:
                    command = StockCommand(
                        f"stocktake:{number}:{kind}",
                        kind,
                        tuple(postings),
                        reason or "stocktake",
                        reference,
                        approver,
                    )
                    await post(connection, command, self._clock())
            state = StocktakeState.APPROVED
            return await self._decide(connection, number, state, approver, reason), False

    async def reject(self, number: int, decider: str, reason: str = "") -> tuple[Stocktake, bool]:
        """Drop the count. Repeating it changes nothing.

        Raises:
            UnknownStocktake: there is none. DocumentClosed: it was approved.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            found = await _STOCKTAKES.one(connection, number)
            if found.state is StocktakeState.REJECTED:
                return found, True
            _STOCKTAKES.must_be(found, StocktakeState.COUNTED)
            state = StocktakeState.REJECTED
            return await self._decide(connection, number, state, decider, reason), False

    async def get(self, number: int) -> Stocktake:
        """One stocktake.

        Raises:
            UnknownStocktake: there is none of this id.
        """
        async with reading(self._engine) as connection:
            return await _STOCKTAKES.one(connection, number)

    async def page(
        self, after: int, limit: int, state: StocktakeState | None = None
    ) -> list[Stocktake]:
        """Stocktakes by id, those of one state if one is named."""
        async with reading(self._engine) as connection:
            return await _STOCKTAKES.page(connection, after, limit, state)

    async def _decide(
        self,
        connection: AsyncConnection,
        number: int,
        state: StocktakeState,
        decider: str,
        reason: str,
    ) -> Stocktake:
        values = {
            "state": state.value,
            "decided_by": decider,
            "decided_at_ms": self._clock(),
            "reason": reason,
        }
        await connection.execute(update(stocktakes).where(stocktakes.c.id == number).values(values))
        return await _STOCKTAKES.one(connection, number)


async def _last_number(connection: AsyncConnection) -> int:
    return int(await connection.scalar(select(func.max(stock_commands.c.number))) or 0)


async def _moved_since(connection: AsyncConnection, found: Stocktake) -> list[str]:
    """The counted SKUs of which goods came or went at the location since the count."""
    statement = select(stock_movements).where(
        stock_movements.c.sku.in_([count.sku for count in found.counts]),
        stock_movements.c.location == found.location,
        stock_movements.c.command > found.counted_seq,
    )
    moved = set()
    for row in await connection.execute(statement):
        states = (StockState(row.source), StockState(row.target))
        if ON_HAND in balance_deltas(Posting(row.sku, row.location, *states, row.quantity)):
            moved.add(row.sku)
    return sorted(moved)


async def _postings(
    connection: AsyncConnection, found: Stocktake
) -> tuple[list[Posting], list[Posting]]:
    too_many = [
        Arrival(count.sku, found.location, count.difference)
        for count in found.counts
        if count.difference > 0
    ]
    missing = (StockState.AVAILABLE, StockState.STOCKTAKE)
    losses = [
        Posting(count.sku, found.location, *missing, -count.difference)
        for count in found.counts
        if count.difference < 0
    ]
    return await arriving(connection, StockState.STOCKTAKE, too_many), losses
