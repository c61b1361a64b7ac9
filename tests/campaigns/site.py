"""One process of everything: a node of the hot path, the stock book, and the relay."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.config import Settings
from flashstock.ledger import tables as ledger_tables
from flashstock.ledger.engine import create_engine, reading, writing
from flashstock.model.events import encode_rules
from flashstock.model.ids import ReservationId, digest_of
from flashstock.model.rules import PoolRules
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook import pool_transfers
from flashstock.stockbook.pool_commands import PoolCommand, pending_page
from flashstock.stockbook.pool_flights import PoolFlights
from flashstock.stockbook.pool_relay import HotPools, PoolRelay
from flashstock.stockbook.pool_transfers import Wish
from flashstock.stockbook.posting import post
from flashstock.stockbook.tables import allocations, locations, skus, stock_balances
from tests.recovery.node import CALLER, TIMEOUT_MS, Node, eventually, opened


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Site:
    """What a test needs of the book, in its own words."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.engine: AsyncEngine = node.stores.engine
        self.relay = self.relay_of(node.stores.store)
        self.flights = PoolFlights(self.engine, node.stores.store.shard_of, now_ms)

    def relay_of(self, store: HotPools) -> PoolRelay:
        return PoolRelay(self.engine, store, now_ms)

    async def locations(self, *codes: str) -> None:
        """In this order of priority."""
        rows = [
            {
                "code": code,
                "name": code,
                "kind": "warehouse",
                "priority": number,
                "created_at_ms": 1,
                "updated_at_ms": 1,
            }
            for number, code in enumerate(codes)
        ]
        async with writing(self.engine) as connection:
            await connection.execute(insert(locations), rows)

    async def sku(self, sku: str, **fields: Any) -> None:
        row = {"sku": sku, "title": sku, "created_at_ms": 1, "updated_at_ms": 1, **fields}
        async with writing(self.engine) as connection:
            await connection.execute(insert(skus), row)

    async def receive(self, sku: str, location: str, quantity: int, name: str = "") -> None:
        source, target = StockState.SUPPLIER, StockState.AVAILABLE
        posting = Posting(sku, location, source, target, quantity)
        command_id = f"receive/{sku}/{location}/{name}"
        async with writing(self.engine) as connection:
            await post(
                connection, StockCommand(command_id, MovementKind.RECEIVE, (posting,)), now_ms()
            )

    async def allow_virtual(self, sku: str, location: str, allowance: int) -> None:
        row = {"sku": sku, "location": location, "virtual_allowance": allowance}
        here = (stock_balances.c.sku == sku) & (stock_balances.c.location == location)
        async with writing(self.engine) as connection:
            changed = await connection.execute(
                update(stock_balances).where(here).values(virtual_allowance=allowance)
            )
            if not changed.rowcount:
                await connection.execute(insert(stock_balances), row)

    async def stock(self, sku: str, location: str) -> dict[str, int]:
        """The balances that are not 0."""
        where = (stock_balances.c.sku == sku) & (stock_balances.c.location == location)
        async with reading(self.engine) as connection:
            row = (await connection.execute(select(stock_balances).where(where))).one()
        fields = row._asdict()
        left_out = {"sku", "location", "changed_seq", "virtual_allowance"}
        return {name: n for name, n in fields.items() if name not in left_out and n}

    async def allotted(self, pool: str) -> dict[tuple[str, str], int]:
        statement = select(allocations).where(allocations.c.pool == pool)
        async with reading(self.engine) as connection:
            rows = (await connection.execute(statement)).all()
        return {(row.sku, row.location): row.quantity for row in rows if row.quantity}

    async def open_pool(self, pool: str, units: int, **rules: Any) -> None:
        """Made, filled and opened by the outbox: not carried out yet."""
        fields = encode_rules(PoolRules("sku", **rules))
        locked = sum(wave.quantity for wave in rules.get("waves", ()))
        async with writing(self.engine) as connection:
            create = f"create/{pool}"
            await pool_transfers.create_pool(connection, create, pool, fields, now_ms())
            wish = Wish(pool, units, {"sku": 1}, locked=locked)
            await pool_transfers.allocate(connection, f"add/{pool}", wish, now_ms())
            await pool_transfers.set_rules(connection, f"open/{pool}", pool, fields, now_ms())

    async def allocate(self, command_id: str, wish: Wish) -> None:
        async with writing(self.engine) as connection:
            await pool_transfers.allocate(connection, command_id, wish, now_ms())

    async def pending(self) -> list[PoolCommand]:
        async with reading(self.engine) as connection:
            return await pending_page(connection, (-1, ""), 1_000)

    async def carried_out(self, relay: PoolRelay | None = None) -> None:
        """Let the relay work until nothing is pending."""
        working = relay or self.relay

        async def nothing_is_left() -> bool:
            await working.round()
            return not await self.pending()

        await eventually(nothing_is_left, "every command is carried out")

    async def counters(self, pool: str) -> tuple[int, int, int, int, int]:
        """(total, available, held, sold, locked) as Redis has them."""
        found = (await self.node.stores.store.snapshot(pool)).counters
        return found.total, found.available, found.held, found.sold, found.locked

    async def sell(self, pool: str, key: str, quantity: int = 1) -> None:
        reservation = await self.node.hold(pool, key, quantity)
        await self.node.reservations.confirm(reservation, f"pay-{key}")

    def reservation(self, pool: str, key: str) -> str:
        return str(ReservationId(pool, digest_of("reservation", CALLER, key)))

    async def order_of(self, pool: str, key: str) -> str:
        columns = ledger_tables.orders.c
        statement = select(columns.order_no).where(
            columns.reservation_id == self.reservation(pool, key)
        )
        async with reading(self.engine) as connection:
            return str((await connection.execute(statement)).scalar_one())

    async def adds_up(self) -> None:
        """Nothing is in two places or in none, in this very moment."""
        assert await self.flights.differences() == []
        async with reading(self.engine) as connection:
            balances = (await connection.execute(select(stock_balances))).all()
            allotted = (await connection.execute(select(allocations))).all()
        for row in balances:
            mine = [a for a in allotted if (a.sku, a.location) == (row.sku, row.location)]
            assert row.campaign == sum(a.quantity for a in mine), row

    async def sql_pool(self, pool: str) -> Any:
        statement = select(ledger_tables.pools).where(ledger_tables.pools.c.id == pool)
        async with reading(self.engine) as connection:
            return (await connection.execute(statement)).first()


async def emptied(url: str) -> None:
    """Triggers keep movements from being deleted: they are put aside for the moment."""
    engine = create_engine(url)
    async with writing(engine) as connection:
        await connection.exec_driver_sql("SET session_replication_role = replica")
        for table in ledger_tables.metadata.sorted_tables:
            await connection.execute(delete(table))
        await connection.exec_driver_sql("SET session_replication_role = origin")
    await engine.dispose()


@asynccontextmanager
async def sited(valkey_url: str, database_url: str, **changes: Any) -> AsyncIterator[Site]:
    """Open on a database that is migrated already."""
    changes = {"redis_timeout_ms": TIMEOUT_MS, "applied_timeout_ms": TIMEOUT_MS, **changes}
    settings = Settings(redis_url=valkey_url, database_url=database_url, **changes)
    async with opened(settings) as node:
        yield Site(node)


def names(commands: Sequence[PoolCommand]) -> list[str]:
    return [command.id for command in commands]
