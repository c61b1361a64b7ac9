"""Purchases: what is bought is in transit until it is received, in as many parts as it comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import InsufficientStock, InvalidRequest, UnknownPurchase
from flashstock.ledger.engine import reading, writing
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.arrivals import Arrival, arriving
from flashstock.stockbook.asked import Asked, open_document, payload_text
from flashstock.stockbook.documents import Columns, Documents
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, earlier_number, lock_book, post
from flashstock.stockbook.tables import purchase_lines, purchases


class PurchaseState(StrEnum):
    """Whether anything is still to come."""

    OPEN = "open"
    RECEIVED = "received"
    CANCELLED = "cancelled"
    """The rest will not come."""


@dataclass(frozen=True, slots=True)
class PurchaseLine:
    """What was ordered of a SKU, and what became of it."""

    sku: str
    quantity: int
    received: int = 0
    damaged: int = 0
    cancelled: int = 0

    @property
    def expected(self) -> int:
        """Units still in transit."""
        return self.quantity - self.received - self.damaged - self.cancelled


@dataclass(frozen=True, slots=True)
class Purchase:
    """``expected_at_ms`` 0: nobody said when."""

    id: int
    location: str
    supplier: str
    reference: str
    state: PurchaseState
    expected_at_ms: int
    created_by: str
    created_at_ms: int
    updated_at_ms: int
    lines: tuple[PurchaseLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Received:
    """What came of a line: ``quantity`` sound units and ``damaged`` ones."""

    sku: str
    quantity: int
    damaged: int = 0


def _read(head: Columns, lines: Sequence[Columns]) -> Purchase:
    return Purchase(**head, lines=tuple(PurchaseLine(**line) for line in lines))


_PURCHASES: Final = Documents(
    "purchase", purchases, purchase_lines, PurchaseState, _read, UnknownPurchase
)


async def _open(connection: AsyncConnection, number: int) -> Purchase:
    return _PURCHASES.must_be(await _PURCHASES.one(connection, number), PurchaseState.OPEN)


class Purchases:
    """Every method raises ``LedgerUnavailable``; those that move stock may be repeated.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def create(
        self,
        asked: Asked,
        location: str,
        ordered: Mapping[str, int],
        *,
        supplier: str = "",
        reference: str = "",
        expected_at_ms: int = 0,
    ) -> tuple[Purchase, bool]:
        """Expect what was bought: it is in transit at its location from now on.

        Returns:
            The purchase, and whether it was created before under the same key.

        Raises:
            UnknownSku, UnknownLocation, IdempotencyMismatch.
        """
        lines = sorted(ordered.items())
        payload = payload_text(location, supplier, reference, expected_at_ms, lines)
        now_ms = self._clock()
        values = {
            "location": location,
            "supplier": supplier,
            "reference": reference,
            "state": PurchaseState.OPEN.value,
            "expected_at_ms": expected_at_ms,
            "created_by": asked.actor,
            "created_at_ms": now_ms,
            "updated_at_ms": now_ms,
        }
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            number, created = await open_document(connection, purchases, asked, payload, values)
            if created:
                rows = [{"purchase": number, "sku": sku, "quantity": n} for sku, n in lines]
                await connection.execute(insert(purchase_lines), rows)
                expected = (StockState.SUPPLIER, StockState.IN_TRANSIT)
                command = StockCommand(
                    id=f"purchase:{asked.id}",
                    kind=MovementKind.EXPECT,
                    postings=tuple(Posting(sku, location, *expected, n) for sku, n in lines),
                    reason=reference,
                    reference=document_reference(number),
                    actor=asked.actor,
                )
                await post(connection, command, now_ms)
            return await _PURCHASES.one(connection, number), not created

    async def receive(
        self, asked: Asked, number: int, came: Sequence[Received] | None = None
    ) -> tuple[Purchase, bool]:
        """Take in what came of it, or (``None``) all that is still expected.

        Sound units cover virtual stock first, then become available; damaged ones are unsellable.

        Raises:
            UnknownPurchase: there is none. DocumentClosed: nothing is expected any more.
            InsufficientStock: more came of a SKU than is expected.
            IdempotencyMismatch: the key was used for something else.
        """
        rows = None if came is None else [[row.sku, row.quantity, row.damaged] for row in came]
        command = StockCommand(
            id=f"purchase-receipt:{asked.id}",
            kind=MovementKind.RECEIVE,
            postings=(),
            reference=document_reference(number),
            actor=asked.actor,
            asked=payload_text(number, rows),
        )
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            if await earlier_number(connection, command) is not None:
                return await _PURCHASES.one(connection, number), True
            found = await _open(connection, number)
            if came is None:
                came = [Received(line.sku, line.expected) for line in found.lines if line.expected]
            arrivals = [
                Arrival(row.sku, found.location, row.quantity, row.damaged)
                for row in _within(found, came)
            ]
            postings = await arriving(connection, StockState.IN_TRANSIT, arrivals)
            await post(connection, replace(command, postings=tuple(postings)), self._clock())
            for row in came:
                which = (purchase_lines.c.purchase == number) & (purchase_lines.c.sku == row.sku)
                more = {
                    "received": purchase_lines.c.received + row.quantity,
                    "damaged": purchase_lines.c.damaged + row.damaged,
                }
                await connection.execute(update(purchase_lines).where(which).values(more))
            return await self._close(connection, number, PurchaseState.RECEIVED), False

    async def cancel(self, asked: Asked, number: int, reason: str = "") -> tuple[Purchase, bool]:
        """Expect no more of it; what was received stays.

        Raises:
            UnknownPurchase, DocumentClosed, IdempotencyMismatch: as for ``receive``.
        """
        command = StockCommand(
            id=f"purchase-cancellation:{asked.id}",
            kind=MovementKind.EXPECT,
            postings=(),
            reason=reason,
            reference=document_reference(number),
            actor=asked.actor,
            asked=payload_text(number, reason),
        )
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            if await earlier_number(connection, command) is not None:
                return await _PURCHASES.one(connection, number), True
            found = await _open(connection, number)
            back = (StockState.IN_TRANSIT, StockState.SUPPLIER)
            postings = tuple(
                Posting(line.sku, found.location, *back, line.expected)
                for line in found.lines
                if line.expected
            )
            await post(connection, replace(command, postings=postings), self._clock())
            for line in found.lines:
                which = (purchase_lines.c.purchase == number) & (purchase_lines.c.sku == line.sku)
                more = {"cancelled": purchase_lines.c.cancelled + line.expected}
                await connection.execute(update(purchase_lines).where(which).values(more))
            return await self._close(connection, number, PurchaseState.CANCELLED), False

    async def get(self, number: int) -> Purchase:
        """One purchase.

        Raises:
            UnknownPurchase: there is none of this id.
        """
        async with reading(self._engine) as connection:
            return await _PURCHASES.one(connection, number)

    async def page(
        self, after: int, limit: int, state: PurchaseState | None = None
    ) -> list[Purchase]:
        """Purchases by id, those of one state if one is named."""
        async with reading(self._engine) as connection:
            return await _PURCHASES.page(connection, after, limit, state)

    async def _close(
        self, connection: AsyncConnection, number: int, state: PurchaseState
    ) -> Purchase:
        """Note that it changed, and (where nothing is expected any more) how it ended."""
        found = await _PURCHASES.one(connection, number)
        values: dict[str, Any] = {"updated_at_ms": self._clock()}
        if not any(line.expected for line in found.lines):
            values["state"] = state.value
        change = update(purchases).where(purchases.c.id == number).values(values)
        await connection.execute(change)
        return await _PURCHASES.one(connection, number)


def document_reference(number: int) -> str:
    """How a purchase is called in its movements."""
    return f"purchase {number}"


def _within(found: Purchase, came: Sequence[Received]) -> Sequence[Received]:
    expected = {line.sku: line.expected for line in found.lines}
    if not any(row.quantity or row.damaged for row in came):
        raise InvalidRequest("lines: nothing came")
    for row in came:
        if row.quantity + row.damaged > expected.get(row.sku, 0):
            raise InsufficientStock(
                f"purchase {found.id} expects {expected.get(row.sku, 0)} units of {row.sku!r},"
                f" not {row.quantity + row.damaged}; what is beyond it is received by a movement",
                sku=row.sku,
                location=found.location,
                stock_state=StockState.IN_TRANSIT.value,
                balance=expected.get(row.sku, 0),
            )
    return came
