"""The end of a connection to SQLite, however often and from wherever it is asked for."""

from __future__ import annotations

import asyncio

from flashstock.ledger.sqlite_connection import connect


async def test_closing_ends_though_the_connection_is_stopped_meanwhile():
    """A cancellation that meets a connection which is being closed stops it once more."""
    connection = await connect(":memory:")
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    connection.stop()
    done, _ = await asyncio.wait({closing}, timeout=30)
    assert done


async def test_closing_ends_though_it_is_cut_off_and_asked_for_again():
    connection = await connect(":memory:")
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(0)
    closing.cancel()
    done, _ = await asyncio.wait({closing, asyncio.create_task(connection.close())}, timeout=30)
    assert len(done) == 2


async def test_what_was_asked_before_the_end_is_answered():
    connection = await connect(":memory:")
    asked = asyncio.create_task(connection.execute_fetchall("SELECT 1"))
    await asyncio.sleep(0)
    connection.stop()
    assert [tuple(row) for row in await asked] == [(1,)]
