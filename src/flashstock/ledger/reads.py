"""How every query reads: one statement, one connection, one moment."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, literal_column
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.engine import (
    LONG_OPERATION_TIMEOUT_MS,
    in_pages,
    reading,
)
from flashstock.ledger.tables import reservations
from flashstock.model.ids import GROUP_MARK, limit_scope
from flashstock.model.states import ReservationState

# Written out, not bound: only then can the planners tell that a partial index holds every row.
IS_HELD: Final[ColumnElement[bool]] = reservations.c.state == literal_column("'held'")
IS_ENDED: Final[ColumnElement[bool]] = reservations.c.state != literal_column("'held'")
TAKES_UNITS: Final[ColumnElement[bool]] = reservations.c.state.in_(
    [ReservationState.HELD.value, ReservationState.CONFIRMED.value]
)
COUNTS_FOR_LIMIT: Final[ColumnElement[bool]] = reservations.c.state.in_(
    [
        ReservationState.HELD.value,
        ReservationState.CONFIRMED.value,
        ReservationState.PAID.value,
    ]
)
"""What a buyer's units are: a seat that is paid counts before its units are taken, too."""

_AFTER_DIGESTS: Final = "\x7f"
"""Sorts after every character of a digest, and after the ``~`` before it."""
_AFTER_GROUP: Final = chr(ord(GROUP_MARK) + 1)


def of_pool(pool: str) -> ColumnElement[bool]:
    """A pool's reservations: neighbours in the primary key, because their ids begin with it."""
    ids = reservations.c.id
    return (ids > f"{pool}~") & (ids < f"{pool}{_AFTER_DIGESTS}")


def of_limit_scope(pool: str) -> ColumnElement[bool]:
    """The reservations that count for the limit of a pool: its own, or its group's. Neighbours
    as well.
    """
    scope = limit_scope(pool)
    if scope == pool:
        return of_pool(pool)
    ids = reservations.c.id
    return (ids > scope) & (ids < scope.removesuffix(GROUP_MARK) + _AFTER_GROUP)


class Reads:
    """What the parts of ``Queries`` have in common."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def _all(self, statement: Select[Any], timeout_ms: int | None = None) -> Sequence[Any]:
        async with reading(self._engine, timeout_ms) as connection:
            rows: Sequence[Any] = (await connection.execute(statement)).all()
            return rows

    def _in_pages(self, statement: Select[Any], page: int) -> AsyncGenerator[Sequence[Any], None]:
        """For what touches every row of a shard and finds many."""
        return in_pages(self._engine, statement, page, LONG_OPERATION_TIMEOUT_MS)

    async def _first(self, statement: Select[Any]) -> Any | None:
        async with reading(self._engine) as connection:
            return (await connection.execute(statement)).first()
