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
from flashstock.ledger import migrate, tables
from flashstock.ledger.engine import create_engine, reading, writing
from flashstock.ledger.migrate import upgrade
from flashstock.ledger.queries import Queries
from flashstock.ledger.stored import StoredRefund
from flashstock.notices import tables as notice_tables
from flashstock.statistics import tables as statistics_tables
from flashstock.stockbook import tables as stock_tables

DESCRIBED = (
    tables,
    stock_tables,
    campaign_tables,
    channel_tables,
    dispatch_tables,
    notice_tables,
    statistics_tables,
)
"""Whatever has tables must be imported to be compared."""
NEWEST = max(path.name[:4] for path in (migrate._MIGRATIONS / "versions").glob("0*.py"))


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


def _differences(connection: Connection) -> Any:
    return compare_metadata(MigrationContext.configure(connection), tables.metadata)


async def test_the_migrated_schema_is_that_of_the_tables(database_url: str, empty: AsyncEngine):
    async with writing(empty) as connection:
        await connection.run_sync(tables.metadata.create_all)
        wanted = await connection.run_sync(_schema)
        await connection.run_sync(tables.metadata.drop_all)
    assert wanted["pools"]["checks"], "checks are among what is compared"
    await upgrade(database_url)
    async with reading(empty) as connection:
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
    def older(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(migrate._MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    columns = "id, shard, reservation_id, pool, buyer, quantity, payment_ref, recorded_at_ms"
    async with writing(empty) as connection:
        await connection.run_sync(older)
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
