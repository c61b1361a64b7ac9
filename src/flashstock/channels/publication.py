"""Publication: the numbers a shop may show, and since when which of them may have changed.

A shop follows a cursor. Every SKU has a position: the last movement of it, or the last mark. Pages
come in the order of positions, and the numbers on a page are read after the positions: a number is
never older than its position, and what changes later has a later one. So a shop that follows its
cursor ends with what a full publication says, whatever happens in between.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as MalformedBase64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import exists, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.channels.marks import EVERYTHING
from flashstock.channels.policies import COMPANY, policies_of
from flashstock.channels.registry import all_shops, known_channel
from flashstock.channels.shares import Policy, shares
from flashstock.channels.tables import publication_marks
from flashstock.errors import InvalidRequest, UnknownSku
from flashstock.ledger.engine import reading
from flashstock.stockbook.tables import skus, stock_balances, stock_commands


class Position(NamedTuple):
    """After movement ``seq``, mark ``number``, and there after ``sku``; compares as it reads."""

    seq: int = 0
    number: int = 0
    sku: str = ""

    def text(self) -> str:
        """As a cursor: opaque, and safe in an address."""
        plain = f"{self.seq}.{self.number}.{self.sku}".encode()
        return urlsafe_b64encode(plain).decode().rstrip("=")


def parse_position(text: str) -> Position:
    """The inverse of ``Position.text``; nothing is the beginning. Raises ``InvalidRequest``."""
    if not text:
        return Position()
    try:
        plain = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        seq, number, sku = plain.split(".", 2)
        position = Position(int(seq), int(number), sku)
    except (MalformedBase64, ValueError):
        raise InvalidRequest("since: is no cursor of this service") from None
    if position.text() != text or max(position.seq, position.number) >= 2**63 or "\0" in sku:
        raise InvalidRequest("since: is no cursor of this service")
    return position


@dataclass(frozen=True, slots=True)
class Published:
    """How many units of a SKU the shop may show."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class PublicationPage:
    """``cursor`` is where to go on; ``more`` says that there is something there already."""

    items: tuple[Published, ...]
    cursor: str
    more: bool


class Publication:
    """Reads what shops may show."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(self, channel_id: str, since: str, limit: int) -> PublicationPage:
        """The SKUs of which something changed after a cursor (empty: all), oldest change first.

        Raises:
            UnknownChannel: there is no such shop. InvalidRequest: that is no cursor.
        """
        position = parse_position(since)
        async with reading(self._engine) as connection:
            await known_channel(connection, channel_id)
            found = await _changed(connection, position, limit + 1)
            page = found[:limit]
            numbers = await _numbers(connection, channel_id, [place.sku for place in page])
        items = tuple(Published(sku, number) for sku, number in numbers.items())
        cursor = page[-1] if page else position
        return PublicationPage(items, cursor.text(), len(found) > limit)

    async def of_sku(self, sku: str) -> dict[str, int]:
        """What every shop may show of one SKU, by shop. Raises ``UnknownSku``."""
        async with reading(self._engine) as connection:
            known = await connection.execute(select(skus.c.sku).where(skus.c.sku == sku))
            if known.first() is None:
                raise UnknownSku(f"there is no SKU {sku!r}", sku=sku)
            return (await _shares(connection, [sku]))[sku]


async def _changed(connection: AsyncConnection, after: Position, limit: int) -> list[Position]:
    """Positions behind ``after``, in order.

    The order of reading matters: the last movement first. Whatever is marked after the marks were
    read then stands behind that movement, and so behind everything that is found here.
    """
    last_movement = select(func.max(stock_commands.c.number))
    horizon = int((await connection.execute(last_movement)).scalar() or 0)
    everything, marked = await _marked(connection, after, horizon, limit)
    found: list[Position] = []
    if everything[:2] >= after[:2]:
        found = await _scanned(connection, everything, after, limit)
        after = max(after, everything)
    found += [place for place in marked if place > after]
    moved = await _moved(connection, after, horizon, limit)
    return sorted([*found, *moved])[:limit]


async def _marked(
    connection: AsyncConnection, after: Position, horizon: int, limit: int
) -> tuple[Position, list[Position]]:
    """(The mark of everything, the marks of single SKUs that are kept and behind a position).

    One statement, so one moment: a mark of everything that is made later has a higher number than
    any mark that is found.
    """
    marks = publication_marks.c
    later = tuple_(marks.stock_seq, marks.number) > tuple_(after.seq, after.number)
    kept = exists().where(stock_balances.c.sku == marks.sku)
    statement = (
        select(marks.stock_seq, marks.number, marks.sku)
        .where(or_(marks.sku == EVERYTHING, later & (marks.stock_seq <= horizon) & kept))
        .order_by(marks.sku != EVERYTHING, marks.stock_seq, marks.number)
        .limit(limit + 1)
    )
    places = [Position(*row) for row in await connection.execute(statement)]
    if places and places[0].sku == EVERYTHING:
        return places[0], places[1:]
    return Position(-1), places


async def _scanned(
    connection: AsyncConnection, everything: Position, after: Position, limit: int
) -> list[Position]:
    """Every SKU, standing where the mark of everything does, as far as it is behind ``after``."""
    begun = after[:2] == everything[:2]
    statement = (
        select(stock_balances.c.sku)
        .where(stock_balances.c.sku > (after.sku if begun else ""))
        .distinct()
        .order_by(stock_balances.c.sku)
        .limit(limit)
    )
    rows = await connection.execute(statement)
    return [Position(everything.seq, everything.number, row.sku) for row in rows]


async def _moved(
    connection: AsyncConnection, after: Position, horizon: int, limit: int
) -> list[Position]:
    """SKUs by their last movement, where it is behind ``after``."""
    here, other = stock_balances.c, stock_balances.alias("other")
    later = here.changed_seq > after.seq
    if after.number == 0:
        later = or_(later, (here.changed_seq == after.seq) & (here.sku > after.sku))
    moved_again = exists().where(other.c.sku == here.sku, other.c.changed_seq > here.changed_seq)
    statement = (
        select(here.changed_seq, here.sku)
        .where(here.changed_seq >= after.seq, later, here.changed_seq <= horizon, ~moved_again)
        .distinct()
        .order_by(here.changed_seq, here.sku)
        .limit(limit)
    )
    rows = await connection.execute(statement)
    return [Position(row.changed_seq, 0, row.sku) for row in rows]


async def _numbers(
    connection: AsyncConnection, channel_id: str, wanted: Sequence[str]
) -> dict[str, int]:
    found = await _shares(connection, wanted)
    return {sku: numbers.get(channel_id, 0) for sku, numbers in found.items()}


async def _shares(connection: AsyncConnection, wanted: Sequence[str]) -> dict[str, dict[str, int]]:
    """What every shop may show of these SKUs, in the order asked for, each once."""
    names = list(dict.fromkeys(wanted))
    stock: dict[str, dict[str, int]] = {sku: {} for sku in names}
    safety: dict[str, int] = {}
    for row in await _stock(connection, names):
        stock[row.sku][row.location] = row.available
        safety[row.sku] = row.safety_stock or 0
    shops = await all_shops(connection)
    policies = await policies_of(connection, [COMPANY, *names])
    company = policies.get(COMPANY, Policy())
    return {
        sku: shares(stock[sku], safety.get(sku, 0), shops, policies.get(sku, company))
        for sku in names
    }


async def _stock(connection: AsyncConnection, names: Sequence[str]) -> Sequence[Any]:
    balances = stock_balances.c
    statement = (
        select(balances.sku, balances.location, balances.available, skus.c.safety_stock)
        .join_from(stock_balances, skus, skus.c.sku == balances.sku, isouter=True)
        .where(balances.sku.in_(names))
    )
    return (await connection.execute(statement)).all()
