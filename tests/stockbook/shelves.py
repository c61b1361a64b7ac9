"""A small stock book to write into, with short words for what tests do all the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.engine import reading, writing
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.catalogue import Catalogue, Location, Sku
from flashstock.stockbook.posting import post
from flashstock.stockbook.tables import stock_balances

NOW_MS = 1_795_311_438_974
SKUS = ("cap", "mug")
LOCATIONS = ("east", "west")


@dataclass
class Shelves:
    engine: AsyncEngine
    now_ms: int = NOW_MS
    _keys: Any = field(default_factory=count)

    def clock(self) -> int:
        return self.now_ms

    def fresh(self) -> str:
        """A command id that was never used."""
        return f"command-{next(self._keys)}"

    async def furnish(self) -> None:
        catalogue = Catalogue(self.engine, self.clock)
        for sku in SKUS:
            await catalogue.put_sku(Sku(sku))
        for code in LOCATIONS:
            await catalogue.put_location(Location(code))

    async def post(
        self,
        kind: MovementKind,
        *rows: tuple[StockState, StockState, int],
        sku: str = "cap",
        location: str = "east",
        **fields: Any,
    ) -> bool:
        postings = tuple(Posting(sku, location, *row) for row in rows)
        command = StockCommand(fields.pop("id", None) or self.fresh(), kind, postings, **fields)
        async with writing(self.engine) as connection:
            return await post(connection, command, self.now_ms)

    async def receive(self, quantity: int, sku: str = "cap", location: str = "east") -> None:
        row = (StockState.SUPPLIER, StockState.AVAILABLE, quantity)
        await self.post(MovementKind.RECEIVE, row, sku=sku, location=location)

    async def balance(self, sku: str = "cap", location: str = "east") -> dict[str, int]:
        """The balances other than 0."""
        here = (stock_balances.c.sku == sku) & (stock_balances.c.location == location)
        async with reading(self.engine) as connection:
            row = (await connection.execute(select(stock_balances).where(here))).one()
        left_out = ("sku", "location", "changed_seq", "virtual_allowance")
        return {n: v for n, v in row._asdict().items() if v and n not in left_out}
