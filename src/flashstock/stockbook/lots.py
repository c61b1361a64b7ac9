"""Lots: units that are guaranteed until a moment. Nothing vanishes by itself when it has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import DocumentClosed, LotStillValid, UnknownLot
from flashstock.ledger.engine import reading, writing
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.asked import Asked, open_document, payload_text
from flashstock.stockbook.posting import (
    BOOK_TIMEOUT_MS,
    balances_of,
    earlier_number,
    lock_book,
    must_exist,
    post,
)
from flashstock.stockbook.tables import lots


class LotState(StrEnum):
    """Whether anybody still has to look after it."""

    OPEN = "open"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Lot:
    """``released``: units that left ``available`` when its time was over."""

    id: int
    sku: str
    location: str
    quantity: int
    reference: str
    guaranteed_until_ms: int
    state: LotState
    released: int
    release_command: str
    created_by: str
    created_at_ms: int
    updated_at_ms: int


class Lots:
    """Every method raises ``LedgerUnavailable``.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def create(
        self,
        asked: Asked,
        sku: str,
        location: str,
        quantity: int,
        guaranteed_until_ms: int,
        reference: str = "",
    ) -> tuple[Lot, bool]:
        """Promise that these units are good until then. Nothing moves.

        Returns:
            The lot, and whether it was made before under the same key.

        Raises:
            UnknownSku, UnknownLocation, IdempotencyMismatch.
        """
        now_ms = self._clock()
        values = {
            "sku": sku,
            "location": location,
            "quantity": quantity,
            "reference": reference,
            "guaranteed_until_ms": guaranteed_until_ms,
            "state": LotState.OPEN.value,
            "created_by": asked.actor,
            "created_at_ms": now_ms,
            "updated_at_ms": now_ms,
        }
        payload = payload_text(sku, location, quantity, guaranteed_until_ms, reference)
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            await must_exist(connection, [(sku, location)])
            number, created = await open_document(connection, lots, asked, payload, values)
            return await _lot(connection, number), not created

    async def release(
        self, asked: Asked, number: int, quantity: int | None = None, reason: str = ""
    ) -> tuple[Lot, bool]:
        """Take what is left of a lot whose time is over out of what may be sold.

        It becomes unsellable, at most as much as is available: units that buyers hold, that are
        committed or set aside for a campaign stay. The book does not know which units of a SKU
        were sold, so whoever knows how many of the lot are left says so.

        Args:
            quantity: how many are left; the whole lot by default.

        Returns:
            The lot, and whether it was released before under the same key.

        Raises:
            UnknownLot: there is none. LotStillValid: its time is not over.
            DocumentClosed: it was released. IdempotencyMismatch.
        """
        command = StockCommand(
            id=f"lot-release:{asked.id}",
            kind=MovementKind.INSPECT,
            postings=(),
            reason=reason or "validity ended",
            reference=f"lot {number}",
            actor=asked.actor,
            asked=payload_text(number, quantity, reason),
        )
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            await earlier_number(connection, command)
            found = await _lot(connection, number)
            if found.release_command == command.id:
                return found, True
            _must_be_open(found)
            if self._clock() < found.guaranteed_until_ms:
                raise LotStillValid(
                    f"lot {number} is still guaranteed",
                    lot=number,
                    guaranteed_until=_time_text(found.guaranteed_until_ms),
                )
            cell = (found.sku, found.location)
            balance = (await balances_of(connection, [cell])).get(cell, {})
            wanted = min(found.quantity, quantity or found.quantity)
            released = min(wanted, balance.get("available", 0))
            if released:
                states = (StockState.AVAILABLE, StockState.UNSELLABLE)
                posting = Posting(*cell, *states, released)
                await post(connection, replace(command, postings=(posting,)), self._clock())
            # Where nothing was left there is no movement to tell a repetition by.
            values = {
                "state": LotState.RELEASED.value,
                "released": released,
                "release_command": command.id,
            }
            return await self._change(connection, number, values), False

    async def extend(self, number: int, guaranteed_until_ms: int) -> tuple[Lot, bool]:
        """Guarantee it until later. Repeating it changes nothing.

        Returns:
            The lot, and whether it already was guaranteed until then.

        Raises:
            UnknownLot: there is none. DocumentClosed: it was released.
            LotStillValid: that would be earlier than what was promised.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            found = await _lot(connection, number)
            _must_be_open(found)
            if guaranteed_until_ms == found.guaranteed_until_ms:
                return found, True
            if guaranteed_until_ms < found.guaranteed_until_ms:
                raise LotStillValid(
                    f"lot {number} is guaranteed for longer than that",
                    lot=number,
                    guaranteed_until=_time_text(found.guaranteed_until_ms),
                )
            values = {"guaranteed_until_ms": guaranteed_until_ms}
            return await self._change(connection, number, values), False

    async def get(self, number: int) -> Lot:
        """One lot.

        Raises:
            UnknownLot: there is none of this id.
        """
        async with reading(self._engine) as connection:
            return await _lot(connection, number)

    async def page(self, after: int, limit: int, state: LotState | None = None) -> list[Lot]:
        """Lots by id, those of one state if one is named."""
        statement = select(lots).where(lots.c.id > after).order_by(lots.c.id)
        if state is not None:
            statement = statement.where(lots.c.state == state.value)
        async with reading(self._engine) as connection:
            return [_stored(row) for row in await connection.execute(statement.limit(limit))]

    async def expiring(self, before_ms: int, after: int, limit: int) -> list[Lot]:
        """Open lots that are guaranteed until before a moment, over ones included, by id."""
        statement = (
            select(lots)
            .where(lots.c.state == LotState.OPEN.value, lots.c.guaranteed_until_ms < before_ms)
            .where(lots.c.id > after)
            .order_by(lots.c.id)
            .limit(limit)
        )
        async with reading(self._engine) as connection:
            return [_stored(row) for row in await connection.execute(statement)]

    async def _change(
        self, connection: AsyncConnection, number: int, values: dict[str, Any]
    ) -> Lot:
        change = update(lots).where(lots.c.id == number)
        await connection.execute(change.values({**values, "updated_at_ms": self._clock()}))
        return await _lot(connection, number)


def _must_be_open(found: Lot) -> None:
    if found.state is not LotState.OPEN:
        raise DocumentClosed(
            f"lot {found.id} is {found.state}", lot=found.id, state=found.state.value
        )


async def _lot(connection: AsyncConnection, number: int) -> Lot:
    row = (await connection.execute(select(lots).where(lots.c.id == number))).first()
    if row is None:
        raise UnknownLot(f"there is no lot {number}", lot=number)
    return _stored(row)


def _stored(row: Any) -> Lot:
    fields = row._asdict()
    del fields["command_id"], fields["payload_digest"]
    fields["state"] = LotState(row.state)
    return Lot(**fields)


def _time_text(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
