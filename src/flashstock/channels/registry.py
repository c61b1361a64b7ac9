"""The shops: what they are called, how they take part in the stock, and what their words mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.channels.marks import EVERYTHING, mark
from flashstock.channels.shares import ChannelMode, Shop
from flashstock.channels.states import OrderState
from flashstock.channels.tables import channel_locations, channel_states, channels
from flashstock.errors import UnknownChannel, UnknownLocation
from flashstock.ledger.engine import reading, writing
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, lock_book
from flashstock.stockbook.tables import locations

CHANNEL_ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$"


@dataclass(frozen=True, slots=True)
class Channel:
    """One shop. No locations: it sells from all of them. ``priority``: lower comes first."""

    id: str
    name: str
    mode: ChannelMode
    weight: int = 1
    priority: int = 100
    locations: tuple[str, ...] = ()
    created_at_ms: int = 0
    updated_at_ms: int = 0

    def shop(self) -> Shop:
        """What the arithmetic of shares needs of it."""
        return Shop(self.id, self.mode, self.weight, self.priority, frozenset(self.locations))


@dataclass(frozen=True, slots=True)
class StateMap:
    """What a shop's own words for the state of an order mean."""

    channel: str
    states: Mapping[str, OrderState] = field(default_factory=dict)


class Channels:
    """Reads and changes shops.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def put(self, channel: Channel) -> tuple[Channel, bool]:
        """Make a shop, or change it to this. Returns (as it is now, was it new).

        Repeating it changes nothing. A change of what numbers depend on has every shop told again.

        Raises:
            UnknownLocation: it names one that is not there.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            await _check_locations(connection, channel.locations)
            before = await channel_of(connection, channel.id)
            now_ms = self._clock()
            values = {
                "name": channel.name,
                "mode": channel.mode.value,
                "weight": channel.weight,
                "priority": channel.priority,
                "updated_at_ms": now_ms,
            }
            if before is None:
                values |= {"id": channel.id, "created_at_ms": now_ms}
                await connection.execute(insert(channels), values)
            elif _same(before, channel):
                return before, False
            else:
                changed = update(channels).where(channels.c.id == channel.id).values(values)
                await connection.execute(changed)
            await _replace_locations(connection, channel)
            if before is None or before.shop() != channel.shop():
                await mark(connection, [EVERYTHING], now_ms)
            after = await known_channel(connection, channel.id)
        return after, before is None

    async def get(self, channel_id: str) -> Channel:
        """One shop. Raises ``UnknownChannel``."""
        async with reading(self._engine) as connection:
            return await known_channel(connection, channel_id)

    async def page(self, after: str, limit: int) -> list[Channel]:
        """Shops in order of their ids, those that come after an id."""
        statement = (
            select(channels).where(channels.c.id > after).order_by(channels.c.id).limit(limit)
        )
        async with reading(self._engine) as connection:
            rows = (await connection.execute(statement)).all()
            return await _with_locations(connection, rows)

    async def put_states(self, channel_id: str, states: Mapping[str, OrderState]) -> StateMap:
        """Say what the shop's words mean, all of them at once. Raises ``UnknownChannel``."""
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            await known_channel(connection, channel_id)
            old = delete(channel_states).where(channel_states.c.channel == channel_id)
            await connection.execute(old)
            rows = [
                {"channel": channel_id, "foreign_state": word, "state": state.value}
                for word, state in sorted(states.items())
            ]
            if rows:
                await connection.execute(insert(channel_states), rows)
            return await states_of(connection, channel_id)

    async def states(self, channel_id: str) -> StateMap:
        """What the shop's words mean. Raises ``UnknownChannel``."""
        async with reading(self._engine) as connection:
            await known_channel(connection, channel_id)
            return await states_of(connection, channel_id)


async def all_shops(connection: AsyncConnection) -> list[Shop]:
    """Every shop: a company has few."""
    rows = (await connection.execute(select(channels).order_by(channels.c.id))).all()
    return [channel.shop() for channel in await _with_locations(connection, rows)]


async def locations_of(connection: AsyncConnection, channel_id: str) -> tuple[str, ...]:
    """The only locations a shop sells from; none means all. Raises ``UnknownChannel``."""
    return (await known_channel(connection, channel_id)).locations


async def channel_of(connection: AsyncConnection, channel_id: str) -> Channel | None:
    """One shop, or ``None``."""
    found = await connection.execute(select(channels).where(channels.c.id == channel_id))
    made = await _with_locations(connection, found.all())
    return made[0] if made else None


async def known_channel(connection: AsyncConnection, channel_id: str) -> Channel:
    """One shop. Raises ``UnknownChannel``."""
    channel = await channel_of(connection, channel_id)
    if channel is None:
        raise UnknownChannel(f"there is no channel {channel_id[:100]!r}", channel=channel_id[:100])
    return channel


async def states_of(connection: AsyncConnection, channel_id: str) -> StateMap:
    """What the words of a shop mean; it is the caller who knows that there is such a shop."""
    statement = (
        select(channel_states.c.foreign_state, channel_states.c.state)
        .where(channel_states.c.channel == channel_id)
        .order_by(channel_states.c.foreign_state)
    )
    rows = (await connection.execute(statement)).all()
    return StateMap(channel_id, {row.foreign_state: OrderState(row.state) for row in rows})


def _same(before: Channel, wanted: Channel) -> bool:
    return before.shop() == wanted.shop() and before.name == wanted.name


async def _check_locations(connection: AsyncConnection, codes: Sequence[str]) -> None:
    known = select(locations.c.code).where(locations.c.code.in_(codes))
    found = set((await connection.execute(known)).scalars()) if codes else set()
    for code in codes:
        if code not in found:
            raise UnknownLocation(f"there is no location {code!r}", location=code)


async def _replace_locations(connection: AsyncConnection, channel: Channel) -> None:
    old = delete(channel_locations).where(channel_locations.c.channel == channel.id)
    await connection.execute(old)
    rows = [{"channel": channel.id, "location": code} for code in sorted(set(channel.locations))]
    if rows:
        await connection.execute(insert(channel_locations), rows)


async def _with_locations(connection: AsyncConnection, rows: Sequence[Any]) -> list[Channel]:
    statement = (
        select(channel_locations)
        .where(channel_locations.c.channel.in_([row.id for row in rows]))
        .order_by(channel_locations.c.channel, channel_locations.c.location)
    )
    mapped: dict[str, list[str]] = {}
    for row in await connection.execute(statement) if rows else ():
        mapped.setdefault(row.channel, []).append(row.location)
    return [
        Channel(
            row.id,
            row.name,
            ChannelMode(row.mode),
            row.weight,
            row.priority,
            tuple(mapped.get(row.id, ())),
            row.created_at_ms,
            row.updated_at_ms,
        )
        for row in rows
    ]
