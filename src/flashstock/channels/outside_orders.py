"""What the shops sell by themselves: their orders' states, mapped to ours, and what they take.

An order takes its units from what is available when its shop says it is paid, gives them back when
it is closed before it was sent, and is gone when it was sent. A sale that nobody told us of before
it had left is booked as sold elsewhere. Each of it happens once, however often it is told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.channels.registry import Channel, known_channel, states_of
from flashstock.channels.states import OrderState, Progress, StockEffect, progress
from flashstock.channels.tables import (
    channel_order_events,
    channel_order_lines,
    channel_orders,
)
from flashstock.errors import (
    IdempotencyMismatch,
    InsufficientStock,
    InvalidRequest,
    UnknownOrder,
)
from flashstock.ledger.engine import reading, writing
from flashstock.model.ids import digest_of
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, lock_book, post
from flashstock.stockbook.tables import locations, stock_balances


class Sourcing(Protocol):
    """Chooses where units come from; ``dispatch`` has it."""

    def __call__(
        self,
        wanted: Mapping[str, int],
        stock: Mapping[str, Mapping[str, int]],
        ranking: Sequence[str],
    ) -> Mapping[str, Mapping[str, int]]:
        """Units by location and SKU. Raises ``InsufficientStock``."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class OutsideLine:
    """Units of a SKU that a shop sold; the location is empty where the shop does not say it."""

    sku: str
    location: str
    quantity: int


@dataclass(frozen=True, slots=True)
class OutsideOrder:
    """An order of a shop, as it stands here."""

    channel: str
    foreign_no: str
    foreign_state: str
    state: OrderState
    stock: StockEffect
    lines: tuple[OutsideLine, ...]
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a shop says of one of its orders, and by which request."""

    channel: str
    foreign_no: str
    foreign_state: str
    lines: tuple[OutsideLine, ...]
    command_id: str
    actor: str

    def payload_digest(self) -> str:
        """Tells two messages apart."""
        rows = [(line.sku, line.location, line.quantity) for line in self.lines]
        said = [self.channel, self.foreign_no, self.foreign_state, rows]
        return digest_of("channel order", orjson.dumps(said).decode())


_AVAILABLE: Final = StockState.AVAILABLE
_COMMITTED: Final = StockState.COMMITTED
_MOVES: Final = {
    (StockEffect.NONE, StockEffect.COMMITTED): (MovementKind.COMMIT, _AVAILABLE, _COMMITTED),
    (StockEffect.NONE, StockEffect.GONE): (
        MovementKind.SOLD_ELSEWHERE,
        _AVAILABLE,
        StockState.ELSEWHERE,
    ),
    (StockEffect.COMMITTED, StockEffect.GONE): (
        MovementKind.SHIP,
        _COMMITTED,
        StockState.CUSTOMER,
    ),
    (StockEffect.COMMITTED, StockEffect.RELEASED): (
        MovementKind.UNCOMMIT,
        _COMMITTED,
        _AVAILABLE,
    ),
}
"""How units move when what an order did to the stock changes."""


class OutsideOrders:
    """Records the orders of the shops.

    Args:
        sourcing: chooses locations for lines that name none.
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int], sourcing: Sourcing) -> None:
        self._engine = engine
        self._clock = clock
        self._sourcing = sourcing

    async def record(self, told: Told) -> tuple[OutsideOrder, bool]:
        """Take note of what a shop says, and move stock accordingly, in one transaction.

        Returns:
            The order as it stands now, and whether this very request was made before. What is
            older than what is known changes nothing.

        Raises:
            UnknownChannel, UnknownSku, UnknownLocation: it names what is not there.
            InvalidRequest: the shop's word is not mapped, or a sale has no lines.
            IdempotencyMismatch: the key, or the order, was sent with other contents before.
            InsufficientStock: the shop sold what is not there; nothing is recorded.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            channel = await known_channel(connection, told.channel)
            if await _was_told(connection, told):
                return await _known_order(connection, told.channel, told.foreign_no), True
            states = (await states_of(connection, told.channel)).states
            state = _translated(told.foreign_state, states)
            before = await _order(connection, told.channel, told.foreign_no)
            so_far = None if before is None else Progress(before.state, before.stock)
            after = progress(so_far, state)
            await self._change(connection, channel, told, before, after)
            await connection.execute(insert(channel_order_events), self._event(told, after.state))
            return await _known_order(connection, told.channel, told.foreign_no), False

    async def get(self, channel: str, foreign_no: str) -> OutsideOrder:
        """One order of a shop. Raises ``UnknownChannel`` or ``UnknownOrder``."""
        async with reading(self._engine) as connection:
            await known_channel(connection, channel)
            return await _known_order(connection, channel, foreign_no)

    def _event(self, told: Told, state: OrderState) -> dict[str, Any]:
        return {
            "command_id": told.command_id,
            "payload_digest": told.payload_digest(),
            "channel": told.channel,
            "foreign_no": told.foreign_no,
            "foreign_state": told.foreign_state,
            "state": state.value,
            "actor": told.actor,
            "at_ms": self._clock(),
        }

    async def _change(
        self,
        connection: AsyncConnection,
        channel: Channel,
        told: Told,
        before: OutsideOrder | None,
        after: Progress,
    ) -> None:
        stock = before.stock if before is not None else StockEffect.NONE
        lines = _lines(before, told, stock)
        if stock is not after.stock:
            lines = await self._move(connection, channel, told, lines, (stock, after.stock))
        progressed = before is None or (before.state, before.stock) != (after.state, after.stock)
        values = {"state": after.state.value, "stock": after.stock.value}
        if progressed:
            values |= {"foreign_state": told.foreign_state}
        now_ms = self._clock()
        here = _same_order(channel_orders, told)
        if before is None:
            key = {"channel": told.channel, "foreign_no": told.foreign_no}
            times = {"created_at_ms": now_ms, "updated_at_ms": now_ms}
            await connection.execute(insert(channel_orders), {**key, **values, **times})
        elif progressed:
            changed = update(channel_orders).where(here).values(**values, updated_at_ms=now_ms)
            await connection.execute(changed)
        if before is None or lines != before.lines:
            await _replace_lines(connection, told, lines)

    async def _move(
        self,
        connection: AsyncConnection,
        channel: Channel,
        told: Told,
        lines: tuple[OutsideLine, ...],
        effect: tuple[StockEffect, StockEffect],
    ) -> tuple[OutsideLine, ...]:
        """Post the movement. Returns the lines with the locations they came from."""
        kind, source, target = _MOVES[effect]
        if not lines:
            raise InvalidRequest("lines: are required for an order that takes stock")
        if source is _AVAILABLE:
            lines = await self._located(connection, channel, lines)
        postings = tuple(
            Posting(line.sku, line.location, source, target, line.quantity) for line in lines
        )
        command = StockCommand(
            id=digest_of("channel order", told.channel, told.foreign_no, effect[1].value),
            kind=kind,
            postings=postings,
            reason=f"order of channel {told.channel}",
            reference=told.foreign_no,
            actor=told.actor,
        )
        await post(connection, command, self._clock())
        return lines

    async def _located(
        self, connection: AsyncConnection, channel: Channel, lines: tuple[OutsideLine, ...]
    ) -> tuple[OutsideLine, ...]:
        wanted: dict[str, int] = defaultdict(int)
        for line in lines:
            if not line.location:
                wanted[line.sku] += line.quantity
        if not wanted:
            return lines
        stock = await _available(connection, list(wanted))
        for line in lines:
            if line.location and line.sku in wanted:
                stock.get(line.location, {})[line.sku] = (
                    stock.get(line.location, {}).get(line.sku, 0) - line.quantity
                )
        ranking = await _ranking(connection, channel)
        try:
            parcels = self._sourcing(wanted, stock, ranking)
        except InsufficientStock as shortage:
            missing = shortage.extra["missing"]
            raise InsufficientStock(
                f"channel {channel.id!r} sold more than there is",
                missing=[{"sku": sku, "missing": units} for sku, units in missing.items()],
            ) from None
        located: dict[tuple[str, str], int] = defaultdict(int)
        for line in lines:
            if line.location:
                located[line.sku, line.location] += line.quantity
        for location, parcel in parcels.items():
            for sku, units in parcel.items():
                located[sku, location] += units
        return tuple(sorted(OutsideLine(*cell, units) for cell, units in located.items()))


def _translated(word: str, states: Mapping[str, OrderState]) -> OrderState:
    """Our own words need no mapping, but may have one."""
    if word in states:
        return states[word]
    try:
        return OrderState(word)
    except ValueError:
        known = [{"field": "state", "problem": "is not mapped for this channel"}]
        raise InvalidRequest(f"state: {word[:100]!r} is not mapped", errors=known) from None


def _lines(before: OutsideOrder | None, told: Told, stock: StockEffect) -> tuple[OutsideLine, ...]:
    """The lines that count: what is told as long as nothing was taken, then what was taken."""
    if before is None or (stock is StockEffect.NONE and told.lines):
        return told.lines
    if told.lines and stock is not StockEffect.NONE and _sums(told) != _sums(before):
        raise IdempotencyMismatch("this order was recorded with other lines")
    return before.lines


def _sums(order: OutsideOrder | Told) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for line in order.lines:
        sums[line.sku] += line.quantity
    return dict(sums)


def _same_order(table: Any, told: Told) -> Any:
    return (table.c.channel == told.channel) & (table.c.foreign_no == told.foreign_no)


async def _was_told(connection: AsyncConnection, told: Told) -> bool:
    known = select(channel_order_events.c.payload_digest).where(
        channel_order_events.c.command_id == told.command_id
    )
    earlier = (await connection.execute(known)).scalar_one_or_none()
    if earlier is not None and earlier != told.payload_digest():
        raise IdempotencyMismatch("this Idempotency-Key told us something else")
    return earlier is not None


async def _replace_lines(
    connection: AsyncConnection, told: Told, lines: tuple[OutsideLine, ...]
) -> None:
    old = delete(channel_order_lines).where(_same_order(channel_order_lines, told))
    await connection.execute(old)
    if lines:
        key = {"channel": told.channel, "foreign_no": told.foreign_no}
        rows = [
            {**key, "sku": line.sku, "location": line.location, "quantity": line.quantity}
            for line in lines
        ]
        await connection.execute(insert(channel_order_lines), rows)


async def _available(
    connection: AsyncConnection, wanted: Sequence[str]
) -> dict[str, dict[str, int]]:
    balances = stock_balances.c
    statement = select(balances.location, balances.sku, balances.available).where(
        balances.sku.in_(wanted)
    )
    stock: dict[str, dict[str, int]] = defaultdict(dict)
    for row in await connection.execute(statement):
        stock[row.location][row.sku] = row.available
    return stock


async def _ranking(connection: AsyncConnection, channel: Channel) -> list[str]:
    """Where the shop sells from, by priority."""
    statement = select(locations.c.code).order_by(locations.c.priority, locations.c.code)
    codes = (await connection.execute(statement)).scalars()
    return [code for code in codes if not channel.locations or code in channel.locations]


async def _known_order(connection: AsyncConnection, channel: str, foreign_no: str) -> OutsideOrder:
    order = await _order(connection, channel, foreign_no)
    if order is None:
        raise UnknownOrder(
            f"channel {channel!r} has told us of no order {foreign_no[:100]!r}", channel=channel
        )
    return order


async def _order(connection: AsyncConnection, channel: str, foreign_no: str) -> OutsideOrder | None:
    statement = select(channel_orders).where(
        channel_orders.c.channel == channel, channel_orders.c.foreign_no == foreign_no
    )
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    lines = (
        select(
            channel_order_lines.c.sku,
            channel_order_lines.c.location,
            channel_order_lines.c.quantity,
        )
        .where(
            channel_order_lines.c.channel == channel,
            channel_order_lines.c.foreign_no == foreign_no,
        )
        .order_by(channel_order_lines.c.sku, channel_order_lines.c.location)
    )
    return OutsideOrder(
        channel,
        foreign_no,
        row.foreign_state,
        OrderState(row.state),
        StockEffect(row.stock),
        tuple(OutsideLine(*line) for line in await connection.execute(lines)),
        row.created_at_ms,
        row.updated_at_ms,
    )
