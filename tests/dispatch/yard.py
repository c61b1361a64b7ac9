"""What a test needs of a book and its orders, in its own words; there is no hot path here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from itertools import count
from typing import Any, TypeVar

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.dispatch.order_book import OrderBook
from flashstock.dispatch.orders import Sale, sale_of
from flashstock.dispatch.shipping import ShipOrder, Shipping
from flashstock.errors import Unavailable, UnknownChannel
from flashstock.ledger.engine import reading, writing
from flashstock.ledger.tables import orders, reservations
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.catalogue import Catalogue, Location, Region, Sku
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, post
from flashstock.stockbook.tables import allocations, stock_balances, stock_commands

Answer = TypeVar("Answer")
NOW_MS = 1_795_311_438_974
SHOPS = {"shop": frozenset({"west"}), "anywhere": frozenset[str]()}


async def shop_locations(connection: AsyncConnection, channel: str) -> Collection[str]:
    """Of the tests' own two shops."""
    if channel not in SHOPS:
        raise UnknownChannel(channel=channel)
    return SHOPS[channel]


async def patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer, once there is one: on a busy machine a lock may take too long, as for any."""
    while True:
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(0.01)


def address_of(engine: AsyncEngine) -> str:
    """Where the database is, for whoever opens it a second time."""
    plain = engine.url.set(drivername=engine.url.get_backend_name())
    return plain.render_as_string(hide_password=False)


class Yard:
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.now_ms = NOW_MS
        self.shipping = Shipping(engine, self.clock, shop_locations)
        self.orders = OrderBook(engine, self.clock)
        self._numbers = count()

    def clock(self) -> int:
        return self.now_ms

    def fresh(self) -> str:
        return f"key-{next(self._numbers)}"

    async def furnish(self) -> None:
        await self.location("east", 1, north=1, south=2)
        await self.location("west", 2, south=1)

    async def location(self, code: str, priority: int, **levels: int) -> None:
        regions = tuple(Region(region, level) for region, level in levels.items())
        catalogue = Catalogue(self.engine, self.clock)
        await catalogue.put_location(Location(code, priority=priority, regions=regions))

    async def sku(self, sku: str) -> None:
        await Catalogue(self.engine, self.clock).put_sku(Sku(sku, title=sku.title()))

    async def post(self, kind: MovementKind, *postings: Posting) -> None:
        async with writing(self.engine, BOOK_TIMEOUT_MS) as connection:
            await post(connection, StockCommand(self.fresh(), kind, postings), self.now_ms)

    async def receive(self, sku: str, **units: int) -> None:
        """Units by location."""
        await self.sku(sku)
        for location, quantity in units.items():
            row = Posting(sku, location, StockState.SUPPLIER, StockState.AVAILABLE, quantity)
            await self.post(MovementKind.RECEIVE, row)

    async def set_aside(
        self, pool: str, sku: str, per_unit: int = 1, *, virtual: bool = False, **units: int
    ) -> None:
        """For a pool, units by location; those that are virtual need not be there."""
        await self.sku(sku)
        source = StockState.VIRTUAL if virtual else StockState.AVAILABLE
        for location, quantity in units.items():
            if virtual:
                await self._allow(sku, location, quantity)
            elif quantity:
                row = Posting(sku, location, StockState.SUPPLIER, StockState.AVAILABLE, quantity)
                await self.post(MovementKind.RECEIVE, row)
            posting = Posting(sku, location, source, StockState.CAMPAIGN, quantity)
            if quantity:
                await self.post(MovementKind.ALLOCATE, posting)
            values = {"per_unit": per_unit, "quantity": quantity}
            async with writing(self.engine, BOOK_TIMEOUT_MS) as connection:
                key = {"pool": pool, "sku": sku, "location": location}
                await connection.execute(insert(allocations), {**key, **values})

    async def arrive(self, sku: str, location: str, quantity: int) -> None:
        """Goods for what was sold ahead of them."""
        row = Posting(sku, location, StockState.SUPPLIER, StockState.VIRTUAL, quantity)
        await self.post(MovementKind.RECEIVE, row)

    async def receive_damaged(self, sku: str, location: str, quantity: int) -> None:
        row = Posting(sku, location, StockState.SUPPLIER, StockState.UNSELLABLE, quantity)
        await self.post(MovementKind.RECEIVE, row)

    async def _allow(self, sku: str, location: str, allowance: int) -> None:
        row = {"sku": sku, "location": location, "virtual_allowance": allowance}
        async with writing(self.engine, BOOK_TIMEOUT_MS) as connection:
            here = (stock_balances.c.sku == sku) & (stock_balances.c.location == location)
            values = {"virtual_allowance": allowance}
            changed = update(stock_balances).where(here).values(values)
            if not (await connection.execute(changed)).rowcount:
                await connection.execute(insert(stock_balances), row)

    async def sell(self, order_no: str, pool: str, quantity: int = 1, **fields: Any) -> str:
        """A paid order, as the writer leaves it. Each one is paid a millisecond later."""
        number = next(self._numbers)
        buyer = fields.pop("buyer", f"buyer-{order_no}")
        reservation_id = f"{pool}~{number:016d}"
        row = {
            "id": reservation_id,
            "shard": 0,
            "pool": pool,
            "buyer": buyer,
            "quantity": quantity,
            "cart": "",
            "state": "confirmed",
            "deadline_ms": NOW_MS,
            "created_at_ms": NOW_MS,
            "updated_at_ms": NOW_MS,
            "generation": 1,
            "seq": number,
            "payment_ref": f"pay-{order_no}",
            "order_index": number + 1,
            "order_no": order_no,
            "returned": 0,
        }
        order = {
            "order_no": order_no,
            "reservation_id": reservation_id,
            "pool": pool,
            "buyer": buyer,
            "quantity": quantity,
            "payment_ref": f"pay-{order_no}",
            "confirmed_at_ms": fields.pop("paid_at_ms", NOW_MS + number),
        }
        async with writing(self.engine, BOOK_TIMEOUT_MS) as connection:
            await connection.execute(insert(reservations), row)
            await connection.execute(insert(orders), order)
        return order_no

    async def given_back_at_the_pool(self, order_no: str, returned: int) -> None:
        """The writer has folded a return that nobody told dispatch of."""
        here = reservations.c.order_no == order_no
        async with writing(self.engine, BOOK_TIMEOUT_MS) as connection:
            await connection.execute(update(reservations).where(here).values(returned=returned))

    async def ship(self, order_no: str, **fields: Any) -> bool:
        command_id = fields.pop("command_id", None) or self.fresh()
        return await self.shipping.ship(ShipOrder(command_id, "ann", order_no, **fields))

    async def sale(self, order_no: str) -> Sale:
        async with reading(self.engine) as connection:
            return await sale_of(connection, order_no)

    async def parcels(self, order_no: str) -> list[tuple[str, dict[str, int]]]:
        detail = await self.orders.detail(order_no)
        return [(parcel.location, dict(parcel.lines)) for parcel in detail.parcels]

    async def allotted(self, pool: str) -> dict[tuple[str, str], tuple[int, int]]:
        """(quantity, shipped) by SKU and location."""
        statement = select(allocations).where(allocations.c.pool == pool)
        async with reading(self.engine) as connection:
            rows = (await connection.execute(statement)).all()
        return {(row.sku, row.location): (row.quantity, row.shipped) for row in rows}

    async def balance(self, sku: str, location: str) -> dict[str, int]:
        """The balances other than 0."""
        here = (stock_balances.c.sku == sku) & (stock_balances.c.location == location)
        async with reading(self.engine) as connection:
            row = (await connection.execute(select(stock_balances).where(here))).one()
        left_out = ("sku", "location", "changed_seq", "virtual_allowance")
        return {n: v for n, v in row._asdict().items() if v and n not in left_out}

    async def kinds(self, reference: str) -> list[str]:
        """The movements that refer to an order."""
        statement = (
            select(stock_commands.c.kind)
            .where(stock_commands.c.reference == reference)
            .order_by(stock_commands.c.number)
        )
        async with reading(self.engine) as connection:
            return list((await connection.execute(statement)).scalars())
