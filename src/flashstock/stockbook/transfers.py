"""Transfers: goods leave one location for another, and are in neither's stock on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import DocumentClosed, InsufficientStock, InvalidRequest, UnknownTransfer
from flashstock.ledger.engine import reading, writing
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.arrivals import Arrival, arriving
from flashstock.stockbook.asked import Asked, open_document, payload_text
from flashstock.stockbook.documents import Columns, Documents
from flashstock.stockbook.posting import (
    BOOK_TIMEOUT_MS,
    earlier_number,
    lock_book,
    must_exist,
    post,
)
from flashstock.stockbook.tables import transfer_lines, transfers


class TransferState(StrEnum):
    """Whether anything of it is still to leave, or to arrive."""

    OPEN = "open"
    DONE = "done"
    CANCELLED = "cancelled"
    """None of it ever left."""


@dataclass(frozen=True, slots=True)
class TransferLine:
    """What is to go, and how far it has come."""

    sku: str
    quantity: int
    dispatched: int = 0
    cancelled: int = 0
    received: int = 0
    damaged: int = 0
    lost: int = 0

    @property
    def outgoing(self) -> int:
        """Units that still stand at the source."""
        return self.quantity - self.dispatched - self.cancelled

    @property
    def in_transit(self) -> int:
        """Units on their way."""
        return self.dispatched - self.received - self.damaged - self.lost


@dataclass(frozen=True, slots=True)
class Transfer:
    """From ``source`` to ``destination``."""

    id: int
    source: str
    destination: str
    reference: str
    state: TransferState
    created_by: str
    created_at_ms: int
    updated_at_ms: int
    lines: tuple[TransferLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Came:
    """What became of units in transit: sound, damaged on the way, or never arrived."""

    sku: str
    quantity: int
    damaged: int = 0
    lost: int = 0

    @property
    def total(self) -> int:
        return self.quantity + self.damaged + self.lost


def _read(head: Columns, lines: Sequence[Columns]) -> Transfer:
    return Transfer(**head, lines=tuple(TransferLine(**line) for line in lines))


_TRANSFERS: Final = Documents(
    "transfer", transfers, transfer_lines, TransferState, _read, UnknownTransfer
)


async def _open(connection: AsyncConnection, number: int) -> Transfer:
    return _TRANSFERS.must_be(await _TRANSFERS.one(connection, number), TransferState.OPEN)


class Transfers:
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
        source: str,
        destination: str,
        wanted: Mapping[str, int],
        reference: str = "",
    ) -> tuple[Transfer, bool]:
        """Take units from what is available at the source: they are outgoing, and still there.

        Returns:
            The transfer, and whether it was created before under the same key.

        Raises:
            InsufficientStock, UnknownSku, UnknownLocation, IdempotencyMismatch.
        """
        lines = sorted(wanted.items())
        now_ms = self._clock()
        values = {
            "source": source,
            "destination": destination,
            "reference": reference,
            "state": TransferState.OPEN.value,
            "created_by": asked.actor,
            "created_at_ms": now_ms,
            "updated_at_ms": now_ms,
        }
        payload = payload_text(source, destination, reference, lines)
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            number, created = await open_document(connection, transfers, asked, payload, values)
            if created:
                await must_exist(connection, [(sku, destination) for sku, _ in lines])
                rows = [{"transfer": number, "sku": sku, "quantity": n} for sku, n in lines]
                await connection.execute(insert(transfer_lines), rows)
                taken = (StockState.AVAILABLE, StockState.OUTGOING)
                command = StockCommand(
                    id=f"transfer:{asked.id}",
                    kind=MovementKind.TRANSFER_OUT,
                    postings=tuple(Posting(sku, source, *taken, n) for sku, n in lines),
                    reason=reference,
                    reference=document_reference(number),
                    actor=asked.actor,
                )
                await post(connection, command, now_ms)
            return await _TRANSFERS.one(connection, number), not created

    async def dispatch(
        self, asked: Asked, number: int, leaving: Mapping[str, int] | None = None
    ) -> tuple[Transfer, bool]:
        """Send units on their way, or (``None``) all that are outgoing.

        Raises:
            UnknownTransfer: there is none. DocumentClosed: nothing of it is left to do.
            InsufficientStock: more than is outgoing. IdempotencyMismatch.
        """
        rows = None if leaving is None else sorted(leaving.items())
        command = _command(asked, number, MovementKind.TRANSFER_OUT, "dispatch", rows)
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            if await earlier_number(connection, command) is not None:
                return await _TRANSFERS.one(connection, number), True
            found = await _open(connection, number)
            units = leaving or {line.sku: line.outgoing for line in found.lines if line.outgoing}
            outgoing = {line.sku: line.outgoing for line in found.lines}
            _within(found, units, outgoing, StockState.OUTGOING)
            postings = []
            for sku, quantity in sorted(units.items()):
                out = (StockState.OUTGOING, StockState.TRANSFER, quantity)
                on_its_way = (StockState.TRANSFER, StockState.IN_TRANSIT, quantity)
                postings.append(Posting(sku, found.source, *out))
                postings.append(Posting(sku, found.destination, *on_its_way))
            await post(connection, replace(command, postings=tuple(postings)), self._clock())
            more = {sku: {"dispatched": quantity} for sku, quantity in units.items()}
            return await self._advance(connection, number, more), False

    async def receive(
        self, asked: Asked, number: int, came: Sequence[Came] | None = None
    ) -> tuple[Transfer, bool]:
        """Take in what arrived, or (``None``) all that is in transit; what got lost leaves the
        book.

        Raises:
            UnknownTransfer, DocumentClosed, IdempotencyMismatch: as for ``dispatch``.
            InsufficientStock: more than is in transit.
        """
        rows = None if came is None else [[r.sku, r.quantity, r.damaged, r.lost] for r in came]
        command = _command(asked, number, MovementKind.TRANSFER_IN, "receipt", rows)
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            if await earlier_number(connection, command) is not None:
                return await _TRANSFERS.one(connection, number), True
            found = await _open(connection, number)
            in_transit = {line.sku: line.in_transit for line in found.lines}
            if came is None:
                came = [Came(sku, quantity) for sku, quantity in in_transit.items() if quantity]
            _within(found, {r.sku: r.total for r in came}, in_transit, StockState.IN_TRANSIT)
            arrivals = [Arrival(r.sku, found.destination, r.quantity, r.damaged) for r in came]
            lost = (StockState.IN_TRANSIT, StockState.STOCKTAKE)
            postings = [
                *await arriving(connection, StockState.IN_TRANSIT, arrivals),
                *(Posting(r.sku, found.destination, *lost, r.lost) for r in came if r.lost),
            ]
            await post(connection, replace(command, postings=tuple(postings)), self._clock())
            more = {
                r.sku: {"received": r.quantity, "damaged": r.damaged, "lost": r.lost} for r in came
            }
            return await self._advance(connection, number, more), False

    async def cancel(self, asked: Asked, number: int, reason: str = "") -> tuple[Transfer, bool]:
        """Make available again what has not left; what is on its way still has to arrive.

        Raises:
            UnknownTransfer, IdempotencyMismatch: as for ``dispatch``.
            DocumentClosed: nothing is outgoing.
        """
        command = _command(asked, number, MovementKind.TRANSFER_OUT, "cancellation", reason)
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            if await earlier_number(connection, command) is not None:
                return await _TRANSFERS.one(connection, number), True
            found = await _open(connection, number)
            back = (StockState.OUTGOING, StockState.AVAILABLE)
            postings = tuple(
                Posting(line.sku, found.source, *back, line.outgoing)
                for line in found.lines
                if line.outgoing
            )
            if not postings:
                raise DocumentClosed(
                    f"all of transfer {number} has left", transfer=number, state=found.state.value
                )
            command = replace(command, postings=postings, reason=reason)
            await post(connection, command, self._clock())
            more = {line.sku: {"cancelled": line.outgoing} for line in found.lines}
            return await self._advance(connection, number, more), False

    async def get(self, number: int) -> Transfer:
        """One transfer.

        Raises:
            UnknownTransfer: there is none of this id.
        """
        async with reading(self._engine) as connection:
            return await _TRANSFERS.one(connection, number)

    async def page(
        self, after: int, limit: int, state: TransferState | None = None
    ) -> list[Transfer]:
        """Transfers by id, those of one state if one is named."""
        async with reading(self._engine) as connection:
            return await _TRANSFERS.page(connection, after, limit, state)

    async def _advance(
        self, connection: AsyncConnection, number: int, more: Mapping[str, Mapping[str, int]]
    ) -> Transfer:
        """Add to the lines' columns; a transfer of which nothing is left to do is closed."""
        for sku, columns in more.items():
            which = (transfer_lines.c.transfer == number) & (transfer_lines.c.sku == sku)
            sums = {name: transfer_lines.c[name] + units for name, units in columns.items()}
            await connection.execute(update(transfer_lines).where(which).values(sums))
        found = await _TRANSFERS.one(connection, number)
        values: dict[str, Any] = {"updated_at_ms": self._clock()}
        if not any(line.outgoing or line.in_transit for line in found.lines):
            left = any(line.dispatched for line in found.lines)
            state = TransferState.DONE if left else TransferState.CANCELLED
            values |= {"state": state.value}
        change = update(transfers).where(transfers.c.id == number).values(values)
        await connection.execute(change)
        return await _TRANSFERS.one(connection, number)


def document_reference(number: int) -> str:
    """How a transfer is called in its movements."""
    return f"transfer {number}"


def _command(
    asked: Asked, number: int, kind: MovementKind, step: str, rows: object
) -> StockCommand:
    return StockCommand(
        id=f"transfer-{step}:{asked.id}",
        kind=kind,
        postings=(),
        reference=document_reference(number),
        actor=asked.actor,
        asked=payload_text(number, rows),
    )


def _within(
    found: Transfer, units: Mapping[str, int], there: Mapping[str, int], state: StockState
) -> None:
    if not any(units.values()):
        raise InvalidRequest(f"lines: nothing of transfer {found.id} is {_words(state)}")
    for sku, quantity in units.items():
        if quantity > there.get(sku, 0):
            location = found.source if state is StockState.OUTGOING else found.destination
            raise InsufficientStock(
                f"transfer {found.id} has {there.get(sku, 0)} units of {sku!r} {_words(state)},"
                f" not {quantity}",
                sku=sku,
                location=location,
                stock_state=state.value,
                balance=there.get(sku, 0),
            )


def _words(state: StockState) -> str:
    return state.value.replace("_", " ")
