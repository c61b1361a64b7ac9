"""The migrations make exactly the tables the code believes in, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.campaigns import tables as campaign_tables
from flashstock.channels import tables as channel_tables
from flashstock.dispatch import tables as dispatch_tables
from flashstock.imports import tables as import_tables
from flashstock.ledger import audit, migrate, tables
from flashstock.ledger.engine import (
    LONG_OPERATION_TIMEOUT_MS,
    create_engine,
    reading,
    writing,
)
from flashstock.ledger.migrate import upgrade
from flashstock.ledger.queries import Queries
from flashstock.ledger.stored import CursorStatus, StoredPool, StoredRefund
from flashstock.model.rules import PoolCounters, PoolRules
from flashstock.model.states import DeductMode, PoolState, ReservationState
from flashstock.notices import tables as notice_tables
from flashstock.payments import tables as payment_tables
from flashstock.statistics import tables as statistics_tables
from flashstock.stockbook import tables as stock_tables

DESCRIBED = (
    tables,
    audit,
    stock_tables,
    campaign_tables,
    channel_tables,
    dispatch_tables,
    import_tables,
    notice_tables,
    payment_tables,
    statistics_tables,
)
"""Whatever has tables must be imported to be compared."""
NEWEST = max(path.name[:4] for path in (migrate.MIGRATIONS / "versions").glob("0*.py"))


@pytest.fixture
async def empty(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


def _schema(connection: Connection) -> dict[str, Any]:
    """Everything the database says of its tables, in an order of its own."""
    found = inspect(connection)
    names = [name for name in found.get_table_names() if name != "alembic_version"]
    return {
        name: {
            "columns": [
                {**column, "type": str(column["type"])} for column in found.get_columns(name)
            ],
            "primary key": found.get_pk_constraint(name),
            "checks": _sorted(found.get_check_constraints(name)),
            "unique": _sorted(found.get_unique_constraints(name)),
            "indexes": _sorted(found.get_indexes(name)),
        }
        for name in names
    }


def _sorted(parts: Any) -> list[Any]:
    return sorted((_plain(part) for part in parts), key=lambda part: str(part["name"]))


def _plain(value: Any) -> Any:
    """Conditions of partial indexes are objects, equal only to themselves."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return str(value)


def _older(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _differences(connection: Connection) -> Any:
    return compare_metadata(MigrationContext.configure(connection), tables.metadata)


async def test_the_migrated_schema_is_that_of_the_tables(database_url: str, empty: AsyncEngine):
    async with writing(empty, LONG_OPERATION_TIMEOUT_MS) as connection:
        await connection.run_sync(tables.metadata.create_all)
        wanted = await connection.run_sync(_schema)
        await connection.run_sync(tables.metadata.drop_all)
    assert wanted["pools"]["checks"], "checks are among what is compared"
    await upgrade(database_url)
    async with reading(empty, LONG_OPERATION_TIMEOUT_MS) as connection:
        assert await connection.run_sync(_schema) == wanted
        assert await connection.run_sync(_differences) == []


async def test_upgrading_again_keeps_what_is_there(database_url: str, empty: AsyncEngine):
    await upgrade(database_url)
    async with writing(empty) as connection:
        await connection.exec_driver_sql("INSERT INTO settings VALUES ('a', 'b')")
    await upgrade(database_url)
    async with reading(empty) as connection:
        rows = (await connection.exec_driver_sql("SELECT * FROM settings")).all()
    assert [tuple(row) for row in rows] == [("a", "b")]


async def test_refunds_of_an_older_schema_are_kept(database_url: str, empty: AsyncEngine):
    columns = "id, shard, reservation_id, pool, buyer, quantity, payment_ref, recorded_at_ms"
    async with writing(empty) as connection:
        await connection.run_sync(_older, "0001")
        await connection.exec_driver_sql(
            f"INSERT INTO refunds ({columns}, settled_at_ms)"
            " VALUES (7, 0, 'p~1', 'p', 'ann', 2, 'pay-1', 5, NULL),"
            " (8, 0, 'p~2', 'p', 'bob', 1, 'pay-2', 6, 9)"
        )
    await upgrade(database_url)
    kept = await Queries(empty).refunds(0, 10)
    assert kept == [
        StoredRefund(7, 0, "p~1", "p", "ann", 2, "pay-1", 5, None),
        StoredRefund(8, 0, "p~2", "p", "bob", 1, "pay-2", 6, 9),
    ]
    assert (kept[0].settled_by, kept[0].settled_reference) == (None, None)
    assert await Queries(empty).settle_refund(7, "transfer-1", "ops-key")


async def test_pools_of_an_older_schema_keep_what_they_say(database_url: str, empty: AsyncEngine):
    """A database at 0004 in use: everything stays, and the newer rules say nothing."""
    rules = PoolRules("sku-1", PoolState.PAUSED, per_buyer_limit=2, starts_at_ms=5, hold_ms=60_000)
    values = "0, 'sku-1', 'paused', 10, 1, 2, 3, 0, 2, 60000, 5, 0, 'ledger', ''"
    async with writing(empty) as connection:
        await connection.run_sync(_older, "0004")
        await connection.exec_driver_sql(
            "INSERT INTO pools (id, shard, sku, state, total, held, sold, locked,"
            " oversell_allowance, per_buyer_limit, hold_ms, starts_at_ms, ends_at_ms, durability,"
            f" waves, created_at_ms, updated_at_ms) VALUES ('p', {values}, 7, 8)"
        )
        await connection.exec_driver_sql(
            "INSERT INTO reservations (id, shard, pool, buyer, quantity, cart, state, deadline_ms,"
            " created_at_ms, updated_at_ms, generation, seq, order_index, returned)"
            " VALUES ('p~1', 0, 'p', 'ann', 1, '', 'held', 99, 7, 7, 1, 2, 0, 0)"
        )
    await upgrade(database_url)
    queries = Queries(empty)
    stored = await queries.pool("p")
    assert stored == StoredPool("p", 0, rules, PoolCounters(10, 4, 1, 2, 3), 0, 7, 8)
    assert (stored.rules.audience, stored.rules.channels) == ("", "")
    assert stored.rules.deduct is DeductMode.HOLD
    held = await queries.reservation("p~1")
    assert held is not None
    assert (held.state, held.deadline_ms) == (ReservationState.HELD, 99)


async def test_a_cursor_of_an_older_schema_stands_where_it_stood(
    database_url: str, empty: AsyncEngine
):
    """And has shown no sign of life: what began before then is no outage."""
    async with writing(empty, LONG_OPERATION_TIMEOUT_MS) as connection:
        await connection.run_sync(_older, "0013")
        await connection.exec_driver_sql(
            "INSERT INTO cursors (shard, generation, seq, log_id, opened_generation,"
            " recovery_owner, recovery_until_ms, updated_at_ms)"
            " VALUES (2, 5, 70, '9-1', 4, 'somebody', 8, 9)"
        )
    await upgrade(database_url)
    assert await Queries(empty).cursors() == [
        CursorStatus(2, 5, 70, "9-1", 4, "somebody", 8, 9, alive_at_ms=0)
    ]


async def test_many_may_upgrade_at_once(database_url: str, empty: AsyncEngine):
    await asyncio.gather(*(upgrade(database_url) for _ in range(5)))
    async with reading(empty) as connection:
        versions = (await connection.exec_driver_sql("SELECT * FROM alembic_version")).all()
    assert [tuple(row) for row in versions] == [(NEWEST,)]


async def test_an_upgrade_that_fails_leaves_nothing_behind(database_url: str, empty: AsyncEngine):
    async with writing(empty) as connection:
        await connection.exec_driver_sql("CREATE TABLE quarantine (taken INTEGER)")
    with pytest.raises(Exception, match="quarantine"):
        await upgrade(database_url)
    async with writing(empty) as connection:
        assert list(await connection.run_sync(_schema)) == ["quarantine"]
        await connection.exec_driver_sql("DROP TABLE quarantine")
    await upgrade(database_url)
