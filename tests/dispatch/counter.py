"""Where goods are sold, sent and taken back: a book, a pool that it filled, and what can fail."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from flashstock.dispatch.orders import ReturnKind, Sale, sales_of
from flashstock.dispatch.return_rows import Return, in_flight, returns_of
from flashstock.dispatch.returns import HotReturns, ReturnOrder, Returns
from flashstock.dispatch.shipping import ShipOrder, Shipping
from flashstock.errors import Unavailable
from flashstock.hotpath import keys
from flashstock.hotpath.replies import ReservationReply
from flashstock.ledger.engine import reading
from flashstock.ledger.tables import reservations
from flashstock.model.ids import ReservationId, digest_of, parse_reservation_id
from flashstock.stockbook.pool_flights import PoolFlights
from tests.campaigns.site import Site, now_ms
from tests.dispatch.yard import shop_locations
from tests.recovery.node import raw


class Cut(Unavailable):
    """The test's own: the connection ended, before or after the pool was asked."""


class Wire:
    """The hot path, cut where a test says so."""

    def __init__(self, hot: HotReturns) -> None:
        self._hot = hot
        self.cut = ""
        self.calls = 0

    async def return_sale(
        self, target: ReservationId, quantity: int, command_digest: str, *, restock: bool
    ) -> ReservationReply:
        self.calls += 1
        if self.cut == "before":
            raise Cut
        reply = await self._hot.return_sale(target, quantity, command_digest, restock=restock)
        if self.cut == "after":
            raise Cut
        return reply


class Counter:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.wire = Wire(site.node.stores.store)
        self.returns = Returns(site.engine, now_ms, self.wire)
        site.flights = PoolFlights(site.engine, site.node.stores.store.shard_of, now_ms, in_flight)
        self.shipping = Shipping(site.engine, now_ms, shop_locations)

    async def open(self) -> None:
        await self.site.locations("east", "west")
        await self.site.sku("sku")
        await self.site.receive("sku", "east", 10)
        await self.site.open_pool("sale", 10)
        await self.site.carried_out()

    async def sell(self, key: str, quantity: int = 1) -> str:
        """Returns the order number."""
        await self.site.sell("sale", key, quantity)
        where = reservations.c.id == self.site.reservation("sale", key)
        async with reading(self.site.engine) as connection:
            found = await connection.execute(select(reservations.c.order_no).where(where))
            return str(found.scalar_one())

    async def ship(self, order_no: str, **fields: Any) -> bool:
        command_id = fields.pop("command_id", f"ship-{order_no}-{fields}")
        return await self.shipping.ship(ShipOrder(command_id, "ann", order_no, **fields))

    async def take_back(
        self, order_no: str, key: str = "one", **fields: Any
    ) -> tuple[Return, bool]:
        command_id = digest_of("order return", "ann", key)
        return await self.returns.take_back(ReturnOrder(command_id, "ann", order_no, **fields))

    async def sale(self, order_no: str) -> Sale:
        async with reading(self.site.engine) as connection:
            return (await sales_of(connection, [order_no]))[0]

    async def rows(self, order_no: str) -> list[tuple[str, ReturnKind, int]]:
        """(state, kind, quantity) of each return of an order."""
        async with reading(self.site.engine) as connection:
            found = await returns_of(connection, order_no)
        return [(row.state.value, row.kind, row.quantity) for row in found]

    def forget(self, valkey_url: str, key: str) -> None:
        """As the pool does, a day after the deadline."""
        target = parse_reservation_id(self.site.reservation("sale", key))
        assert target is not None
        with raw(valkey_url) as client:
            assert client.hdel(keys.reservations(0), target.digest) == 1
