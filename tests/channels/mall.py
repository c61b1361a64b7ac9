"""Many shops and one stock, with short words for what tests do all the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.channels.marks import mark
from flashstock.channels.outside_orders import OutsideLine, OutsideOrder, OutsideOrders, Told
from flashstock.channels.policies import Policies
from flashstock.channels.publication import Publication
from flashstock.channels.registry import Channel, Channels
from flashstock.channels.shares import ChannelMode
from flashstock.dispatch.sourcing import plan
from flashstock.ledger.engine import reading, writing
from flashstock.model.ids import digest_of
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.catalogue import Catalogue, Location, Sku
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, post
from flashstock.stockbook.tables import skus, stock_balances, stock_commands

NOW_MS = 1_795_311_438_974


def sourcing(
    wanted: Mapping[str, int], stock: Mapping[str, Mapping[str, int]], ranking: Sequence[str]
) -> Mapping[str, Mapping[str, int]]:
    return plan(wanted, stock, ranking)


class Mall:
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.channels = Channels(engine, self.clock)
        self.policies = Policies(engine, self.clock)
        self.publication = Publication(engine)
        self.orders = OutsideOrders(engine, self.clock, sourcing)
        self._numbers = count()

    def clock(self) -> int:
        return NOW_MS

    def fresh(self) -> str:
        return f"key-{next(self._numbers)}"

    async def furnish(self, *names: str) -> None:
        catalogue = Catalogue(self.engine, self.clock)
        for sku in names or ("cap", "mug"):
            await catalogue.put_sku(Sku(sku))
        for priority, code in enumerate(("east", "west")):
            await catalogue.put_location(Location(code, priority=priority))

    async def shop(self, channel: str, weight: int = 1, **fields: Any) -> None:
        mode = ChannelMode(fields.pop("mode", "weight"))
        await self.channels.put(Channel(channel, channel.title(), mode, weight, **fields))

    async def move(self, kind: MovementKind, *postings: Posting) -> None:
        command_id = digest_of("test", self.fresh(), str(id(self)))
        async with writing(self.engine, BOOK_TIMEOUT_MS) as connection:
            await post(connection, StockCommand(command_id, kind, postings), NOW_MS)

    async def receive(self, sku: str, quantity: int, location: str = "east") -> None:
        source, target = StockState.SUPPLIER, StockState.AVAILABLE
        await self.move(MovementKind.RECEIVE, Posting(sku, location, source, target, quantity))

    async def receive_together(self, quantity: int, *names: str) -> None:
        """One movement of several SKUs."""
        source, target = StockState.SUPPLIER, StockState.AVAILABLE
        postings = [Posting(sku, "east", source, target, quantity) for sku in names]
        await self.move(MovementKind.RECEIVE, *postings)

    async def sell(self, sku: str, quantity: int, location: str = "east") -> None:
        source, target = StockState.AVAILABLE, StockState.ELSEWHERE
        await self.move(
            MovementKind.SOLD_ELSEWHERE, Posting(sku, location, source, target, quantity)
        )

    async def keep_back(self, sku: str, quantity: int) -> None:
        """A safety stock."""
        async with writing(self.engine, BOOK_TIMEOUT_MS) as connection:
            values = {"safety_stock": quantity}
            await connection.execute(update(skus).where(skus.c.sku == sku).values(values))
            await mark(connection, [sku], NOW_MS)

    async def published(
        self, channel: str, since: str = "", limit: int = 1_000
    ) -> tuple[dict[str, int], str]:
        """(what a shop hears when it follows to the end, its cursor then)."""
        heard: dict[str, int] = {}
        while True:
            page = await self.publication.page(channel, since, limit)
            heard |= {item.sku: item.quantity for item in page.items}
            since = page.cursor
            if not page.more:
                return heard, since

    async def tell(
        self,
        foreign_no: str,
        state: str,
        *lines: tuple[str, str, int],
        key: str = "",
        channel: str = "shop",
    ) -> tuple[OutsideOrder, bool]:
        said = tuple(OutsideLine(*line) for line in lines)
        told = Told(channel, foreign_no, state, said, key or self.fresh(), "ann")
        return await self.orders.record(told)

    async def balance(self, sku: str, location: str = "east") -> dict[str, int]:
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
