"""Trouble with the database is never an event's fault: nothing is written, all can be retried."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.errors import Unavailable
from flashstock.ledger import engine as engine_module
from flashstock.ledger.apply import Ledger, LedgerUnavailable
from flashstock.ledger.engine import (
    create_engine,
    driver_connection,
    in_pages,
    is_sqlite,
    reading,
    writing,
)
from flashstock.ledger.queries import Queries
from tests.contract.ledger.written_log import (
    NOW_MS,
    ORDER_SECRET,
    Book,
    cancelled,
    created,
    held,
)

on_postgres_only = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "SQLITE_BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr(engine_module, "OPERATION_TIMEOUT_MS", 1_300)


@asynccontextmanager
async def _locked(engine: AsyncEngine) -> AsyncIterator[None]:
    """Somebody else holds the cursor's row (on SQLite: the file) and does not let go."""
    async with writing(engine, 60_000) as connection:
        await connection.execute(text("UPDATE cursors SET updated_at_ms = 0"))
        yield


async def test_a_lock_that_is_not_released_is_trouble(impatient: None, book: Book, ledger_url: str):
    await book.write(created())
    batch = book.log.entries(held(1))
    rival = create_engine(ledger_url)
    waiting = Ledger(rival, ORDER_SECRET, lambda: NOW_MS)
    try:
        async with _locked(book.engine):
            with pytest.raises(LedgerUnavailable):
                await waiting.apply(book.cursor, batch)
        assert (await waiting.apply(book.cursor, batch)).quarantined == ()
    finally:
        await rival.dispose()
    assert await book.states() == {"1": "held"}


async def test_a_full_disk_is_trouble(book: Book):
    """The real thing on SQLite; on PostgreSQL the server's own error for it, raised mid-batch."""
    await book.write(created(total=10_000))
    batch = book.log.entries(held(*range(1, 2_000)))
    if is_sqlite(book.engine):
        await book.engine.dispose()
        event.listen(book.engine.sync_engine, "connect", _allow_no_growth)
    else:
        await _execute(
            book,
            "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$",
            "CREATE TRIGGER full_disk BEFORE INSERT ON reservations"
            " FOR EACH ROW EXECUTE FUNCTION disk_full()",
        )
    try:
        with pytest.raises(LedgerUnavailable):
            await book.apply(batch)
        assert await book.ledger.cursor(0) == book.cursor
        assert len(await book.rows("journal")) == 1
    finally:
        if is_sqlite(book.engine):
            event.remove(book.engine.sync_engine, "connect", _allow_no_growth)
            await book.engine.dispose()
        else:
            await _execute(book, "DROP FUNCTION disk_full CASCADE")
    assert (await book.apply(batch)).quarantined == ()
    assert len(await book.states()) == 1_999


def _allow_no_growth(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA page_count")
    (pages,) = cursor.fetchone()
    cursor.execute(f"PRAGMA max_page_count = {pages}")
    cursor.close()


async def _execute(book: Book, *statements: str) -> None:
    async with writing(book.engine) as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def test_a_connection_that_breaks_in_the_middle_is_trouble(
    book: Book, monkeypatch: pytest.MonkeyPatch
):
    await book.write(created())
    batch = book.log.entries(held(1), held(2))
    change = book.ledger._writes.change

    async def broken(connection: Any, *arguments: Any) -> None:
        await change(connection, *arguments)
        driver = driver_connection(connection)
        await driver.close() if is_sqlite(book.engine) else driver.terminate()

    monkeypatch.setattr(book.ledger._writes, "change", broken)
    with pytest.raises(LedgerUnavailable):
        await book.apply(batch)
    monkeypatch.undo()
    assert await book.states() == {}
    assert (await book.apply(batch)).quarantined == ()
    assert await book.states() == {"1": "held", "2": "held"}


@on_postgres_only
@pytest.mark.parametrize("pages_before", [0, 1])
async def test_a_connection_that_breaks_while_pages_are_read_is_trouble(
    book: Book, pages_before: int
):
    lent: list[Any] = []

    def remember(connection: Any, _record: object, _fairy: object) -> None:
        lent.append(connection)
        if not pages_before:
            connection.driver_connection.terminate()

    event.listen(book.engine.sync_engine, "checkout", remember)
    pages = in_pages(book.engine, select(func.generate_series(1, 10_000)), 10, 60_000)
    try:
        async with aclosing(pages):
            for _ in range(pages_before):
                await anext(pages)
            for connection in lent:
                connection.driver_connection.terminate()
            with pytest.raises(LedgerUnavailable):
                async for _ in pages:
                    pass
    finally:
        event.remove(book.engine.sync_engine, "checkout", remember)


async def test_trouble_while_bisecting_sets_nothing_aside(
    book: Book, monkeypatch: pytest.MonkeyPatch
):
    await book.write(created())
    batch = book.log.entries(held(1), cancelled(50), held(2))
    change = book.ledger._writes.change
    calls = 0

    async def broken(connection: Any, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ConnectionResetError("the line is cut")
        await change(connection, *arguments)

    monkeypatch.setattr(book.ledger._writes, "change", broken)
    with pytest.raises(LedgerUnavailable):
        await book.apply(batch)
    assert calls == 3
    monkeypatch.undo()
    assert await book.queries.quarantined(0, 10) == []
    assert await book.ledger.cursor(0) == book.cursor
    assert (await book.apply(batch)).quarantined == (batch[1].seq,)


async def test_a_mistake_of_ours_is_neither(book: Book):
    """A table that is missing must be heard of, not retried for ever and not quarantined."""
    await book.write(created())
    batch = book.log.entries(held(1))
    await _execute(book, "ALTER TABLE reservations RENAME TO hidden")
    try:
        with pytest.raises(Exception, match="reservations") as caught:
            await book.apply(batch)
    finally:
        await _execute(book, "ALTER TABLE hidden RENAME TO reservations")
    assert not isinstance(caught.value, Unavailable)
    assert await book.queries.quarantined(0, 10) == []
    assert await book.ledger.cursor(0) == book.cursor


@on_postgres_only
async def test_a_deadlock_is_trouble(book: Book):
    await book.write(created(), created(pool="pool-2"))
    met = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with writing(book.engine, 10_000) as connection:
            await connection.execute(_TOUCH, {"id": first})
            await met.wait()
            await connection.execute(_TOUCH, {"id": second})

    results = await asyncio.gather(
        lock("pool-1", "pool-2"), lock("pool-2", "pool-1"), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["LedgerUnavailable", "NoneType"]


_TOUCH = text("UPDATE pools SET updated_at_ms = 1 WHERE id = :id")


@on_postgres_only
async def test_idle_connections_that_the_server_dropped_are_replaced(book: Book):
    await book.write(created())
    killer = create_engine(book.engine.url.render_as_string(hide_password=False))
    async with reading(killer) as connection:
        await connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    await killer.dispose()
    batch = book.log.entries(held(1))
    try:
        await book.apply(batch)
    except LedgerUnavailable:
        await book.apply(batch)
    assert await book.states() == {"1": "held"}


@pytest.mark.parametrize("answers", [False, True], ids=["refuses", "accepts and says nothing"])
async def test_a_server_that_does_not_answer_is_trouble(
    answers: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine_module, "CONNECT_TIMEOUT_MS", 1_000)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if not answers:
        server.close()
        await server.wait_closed()
    engine = create_engine(f"postgresql://nobody@127.0.0.1:{port}/nothing")
    try:
        with pytest.raises(LedgerUnavailable):
            await Queries(engine).setting("anything")
        with pytest.raises(LedgerUnavailable):
            await Ledger(engine, b"", lambda: 0).create_cursor(0)
    finally:
        await engine.dispose()
        server.close()


@on_postgres_only
async def test_a_query_that_takes_for_ever_is_cut_off(book: Book):
    with pytest.raises(LedgerUnavailable):
        async with reading(book.engine, 50) as connection:
            await connection.exec_driver_sql("SELECT pg_sleep(60)")
    assert await book.ledger.cursor(0) == book.cursor


async def test_violations_pass_through_a_transaction_as_they_are(book: Book):
    """So that ``apply`` can tell them from trouble."""
    await book.write(created())
    with pytest.raises(DBAPIError, match=re.compile("not_oversold", re.I)):
        await _execute(book, "UPDATE pools SET held = 101")
