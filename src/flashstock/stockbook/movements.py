"""Movements that people post, their counter-movements, and what orders draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import (
    IdempotencyMismatch,
    InvalidRequest,
    NotReversible,
    UnknownMovement,
)
from flashstock.ledger.engine import reading, writing
from flashstock.model.stock import (
    KIND_RULES,
    MovementKind,
    Posting,
    StockCommand,
    StockState,
    manual_pair,
)
from flashstock.stockbook.arrivals import Arrival, arriving
from flashstock.stockbook.asked import Asked, payload_text
from flashstock.stockbook.drawing import Wanted, draw_order, drawing, put_draw_order
from flashstock.stockbook.movement_queries import movements_by_number
from flashstock.stockbook.posting import (
    BOOK_TIMEOUT_MS,
    earlier_number,
    lock_book,
    post_numbered,
)
from flashstock.stockbook.stored import MANUAL, REVERSAL, StoredMovement


@dataclass(frozen=True, slots=True)
class Line:
    """Units that a person moves; states that are not named are those the kind means."""

    sku: str
    location: str
    quantity: int
    source: StockState | None = None
    target: StockState | None = None


class Movements:
    """Posts movements. Every method raises ``LedgerUnavailable``, and nothing may have moved.

    Args:
        clock: ms since the epoch; says when a movement was.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def post(
        self,
        asked: Asked,
        kind: MovementKind,
        lines: Sequence[Line],
        reason: str = "",
        reference: str = "",
    ) -> tuple[StoredMovement, bool]:
        """Post what a person asks for: all lines, or none.

        What is received covers virtual stock first.

        Returns:
            The movement, and whether it was posted before under the same key.

        Raises:
            InvalidRequest: not a person's to post, or not from there to there, or no reason given.
            InsufficientStock, UnknownSku, UnknownLocation, IdempotencyMismatch: as for ``post``.
        """
        rule = KIND_RULES[kind]
        if rule.wants_reason and not reason:
            raise InvalidRequest(
                f"reason: a movement of kind {kind} needs one",
                errors=[{"field": "reason", "problem": f"is required of a movement {kind}"}],
            )
        postings = [_posting(kind, number, line) for number, line in enumerate(lines)]
        command = StockCommand(
            id=f"{MANUAL}{asked.id}",
            kind=kind,
            postings=(),
            reason=reason,
            reference=reference,
            actor=asked.actor,
            asked=payload_text(reason, reference, [list(_fields(row)) for row in postings]),
        )
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            number = await earlier_number(connection, command)
            if number is None:
                if kind is MovementKind.RECEIVE:
                    postings = await _received(connection, postings)
                return await self._post(connection, replace(command, postings=tuple(postings)))
            return await movement_of(connection, number), True

    async def commit(
        self, asked: Asked, order: str, lines: Sequence[Wanted], reason: str = ""
    ) -> tuple[StoredMovement, bool]:
        """Commit what an order takes, all or nothing, from the states in the draw order.

        Raises:
            InsufficientStock: those states have too little of it.
            UnknownSku, UnknownLocation, IdempotencyMismatch: as for ``post``.
        """
        command = StockCommand(
            id=f"commitment:{asked.id}",
            kind=MovementKind.COMMIT,
            postings=(),
            reason=reason,
            reference=order,
            actor=asked.actor,
            asked=payload_text(
                reason, order, [[line.sku, line.location, line.quantity] for line in lines]
            ),
        )
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            number = await earlier_number(connection, command)
            if number is None:
                postings = await drawing(connection, lines, StockState.COMMITTED)
                return await self._post(connection, replace(command, postings=tuple(postings)))
            return await movement_of(connection, number), True

    async def reverse(self, asked: Asked, number: int, reason: str) -> tuple[StoredMovement, bool]:
        """Post the counter-movement of one that a person posted; once.

        Raises:
            UnknownMovement: there is none of this number.
            NotReversible: it was reversed before, or no person posted it.
            InsufficientStock: the units are not where they went any more.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            found = await movement_of(connection, number)
            command = StockCommand(
                id=f"{REVERSAL}{number}",
                kind=found.kind,
                postings=tuple(
                    replace(line, source=line.target, target=line.source) for line in found.lines
                ),
                reason=reason,
                reference=found.reference,
                actor=asked.actor,
                asked=payload_text(asked.id, reason),
            )
            if found.reversed_by is not None:
                earlier = await movement_of(connection, found.reversed_by)
                if await self._was_asked(connection, command):
                    return earlier, True
            if not found.reversible:
                raise NotReversible(
                    f"movement {number} was reversed by {found.reversed_by}"
                    if found.reversed_by
                    else f"movement {number} was not posted by hand",
                    number=number,
                    reversed_by=found.reversed_by,
                )
            return await self._post(connection, command)

    async def draw_order(self) -> tuple[StockState, ...]:
        """The states that orders draw on, first to last."""
        async with reading(self._engine) as connection:
            return await draw_order(connection)

    async def put_draw_order(self, states: Sequence[StockState]) -> tuple[StockState, ...]:
        """From now on draw on these states only, in this order."""
        async with writing(self._engine) as connection:
            await put_draw_order(connection, states)
        return tuple(states)

    async def _post(
        self, connection: AsyncConnection, command: StockCommand
    ) -> tuple[StoredMovement, bool]:
        at_ms = self._clock()
        posted = await post_numbered(connection, command, at_ms)
        if not posted.moved:
            return await movement_of(connection, posted.number), True
        movement = StoredMovement(
            number=posted.number,
            id=command.id,
            kind=command.kind,
            reason=command.reason,
            reference=command.reference,
            actor=command.actor,
            at_ms=at_ms,
            lines=command.postings,
        )
        return movement, False

    async def _was_asked(self, connection: AsyncConnection, command: StockCommand) -> bool:
        try:
            return await earlier_number(connection, command) is not None
        except IdempotencyMismatch:
            return False


async def movement_of(connection: AsyncConnection, number: int) -> StoredMovement:
    """One movement.

    Raises:
        UnknownMovement: there is none of this number.
    """
    found = await movements_by_number(connection, [number])
    if not found:
        raise UnknownMovement(f"there is no movement {number}", number=number)
    return found[0]


def _posting(kind: MovementKind, number: int, line: Line) -> Posting:
    pair = manual_pair(kind, line.source, line.target)
    if pair is None:
        known = ", ".join(f"{source} to {target}" for source, target in KIND_RULES[kind].manual)
        problem = f"a movement {kind} goes {known or 'nowhere by hand'}"
        raise InvalidRequest(
            f"lines[{number}]: {problem}",
            errors=[{"field": f"lines[{number}]", "problem": problem}],
        )
    return Posting(line.sku, line.location, *pair, line.quantity)


def _fields(posting: Posting) -> tuple[str, str, str, str, int]:
    source, target = posting.source.value, posting.target.value
    return (posting.sku, posting.location, source, target, posting.quantity)


async def _received(connection: AsyncConnection, postings: Sequence[Posting]) -> list[Posting]:
    arrivals = []
    for row in postings:
        sound = row.target is StockState.AVAILABLE
        quantities = (row.quantity, 0) if sound else (0, row.quantity)
        arrivals.append(Arrival(row.sku, row.location, *quantities))
    return await arriving(connection, StockState.SUPPLIER, arrivals)
