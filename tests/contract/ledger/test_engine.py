"""Which databases are accepted, and whether they keep what they commit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.errors import ConfigurationError
from flashstock.ledger import engine as engine_module
from flashstock.ledger.engine import (
    check_durability,
    create_engine,
    postgres_findings,
    reading,
    sqlite_findings,
    writing,
)

on_sqlite_only = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
on_postgres_only = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:///a.sqlite3", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:///a.sqlite3", "sqlite+aiosqlite"),
        ("postgres://localhost/a", "postgresql+asyncpg"),
        ("postgresql://localhost/a", "postgresql+asyncpg"),
        ("postgresql+asyncpg://localhost/a?host=/tmp", "postgresql+asyncpg"),
    ],
)
async def test_the_driver_is_chosen(url: str, driver: str):
    engine = create_engine(url)
    assert engine.url.drivername == driver
    await engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://localhost/a",
        "postgresql+psycopg://localhost/a",
        "sqlite+pysqlite:///a",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:a?mode=memory&uri=true",
    ],
)
def test_what_can_keep_no_promise_is_refused(url: str):
    with pytest.raises(ConfigurationError):
        create_engine(url)


def test_nothing_is_opened_before_it_is_used(tmp_path: Path):
    create_engine(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    assert list(tmp_path.iterdir()) == []


async def test_a_database_as_it_comes_is_durable(engine: AsyncEngine):
    assert await check_durability(engine) == []


@on_sqlite_only
async def test_sqlite_that_may_lose_commits_is_found_out(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        engine_module, "_SQLITE_PRAGMAS", ("synchronous = NORMAL", "journal_mode = DELETE")
    )
    engine = create_engine(ledger_url)
    findings = await check_durability(engine)
    await engine.dispose()
    assert ["synchronous" in findings[0], "WAL" in findings[1]] == [True, True]


@on_postgres_only
async def test_postgresql_that_may_lose_commits_is_found_out(engine: AsyncEngine, ledger_url: str):
    async with writing(engine) as connection:
        name = (await connection.exec_driver_sql("SELECT current_database()")).scalar_one()
        await connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    later = create_engine(ledger_url)
    findings = await check_durability(later)
    async with writing(later) as connection:
        await connection.exec_driver_sql(f'ALTER DATABASE "{name}" RESET synchronous_commit')
    await later.dispose()
    assert len(findings) == 1
    assert "synchronous_commit is off" in findings[0]


def test_every_setting_that_endangers_commits_has_its_finding():
    good = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
    assert postgres_findings(good) == []
    assert postgres_findings({**good, "synchronous_commit": "remote_apply"}) == []
    for name in good:
        (finding,) = postgres_findings({**good, name: "off"})
        assert name in finding
    assert sqlite_findings(2, "wal") == []
    assert sqlite_findings(3, "WAL") == []


@on_sqlite_only
async def test_a_writer_of_sqlite_does_not_keep_readers_out(engine: AsyncEngine):
    async with writing(engine) as writer:
        await writer.exec_driver_sql("INSERT INTO settings VALUES ('a', 'b')")
        async with reading(engine) as reader:
            found = (await reader.exec_driver_sql("SELECT count(*) FROM settings")).scalar_one()
            assert found == 0


async def test_a_block_that_raises_writes_nothing(engine: AsyncEngine):
    async def write_and_fail() -> None:
        async with writing(engine) as connection:
            await connection.exec_driver_sql("INSERT INTO settings VALUES ('a', 'b')")
            raise KeyError

    with pytest.raises(KeyError):
        await write_and_fail()
    async with reading(engine) as connection:
        assert (await connection.exec_driver_sql("SELECT * FROM settings")).all() == []


async def test_writers_who_read_before_they_write_lose_nothing(engine: AsyncEngine):
    """On SQLite this deadlocks, or loses updates, unless the lock is taken at the beginning."""
    async with writing(engine) as connection:
        await connection.exec_driver_sql("INSERT INTO settings VALUES ('count', '0')")

    async def count_up() -> None:
        async with writing(engine, 10_000) as connection:
            lock = "" if engine.dialect.name == "sqlite" else " FOR UPDATE"
            read = f"SELECT value FROM settings WHERE name = 'count'{lock}"
            value = int((await connection.exec_driver_sql(read)).scalar_one()) + 1
            await asyncio.sleep(0)
            await connection.exec_driver_sql(f"UPDATE settings SET value = '{value}'")

    await asyncio.gather(*(count_up() for _ in range(8)))
    async with reading(engine) as connection:
        assert (await connection.exec_driver_sql("SELECT value FROM settings")).scalar_one() == "8"
