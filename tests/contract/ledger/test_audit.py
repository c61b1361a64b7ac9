"""The record of who changed what, on both databases: whole, in order, and only ever added to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.audit import ROWS_AT_ONCE, AuditLog, Change, audit_log
from flashstock.ledger.engine import writing
from flashstock.ledger.failures import LedgerUnavailable

CHANGE = Change(
    "night-shift", "ops", "console", "127.0.0.1", "POST /console/pools/{pool}/pause", "/x", "", 303
)


@pytest.fixture
async def log(engine: AsyncEngine) -> AsyncIterator[AuditLog]:
    yield AuditLog(engine, lambda: 1_795_311_438_974)
    if engine.dialect.name == "postgresql":  # other tests clear this database row by row
        async with writing(engine) as connection:
            await connection.exec_driver_sql("TRUNCATE audit_log")


async def test_changes_that_come_together_are_all_there(log: AuditLog):
    changes = [replace(CHANGE, subject=f"/pools/{number}") for number in range(250)]
    await asyncio.gather(*(log.record(change) for change in changes))
    rows = await log.page(0, 1_000)
    assert [row.subject for row in rows] == [change.subject for change in reversed(changes)]
    assert {row.at_ms for row in rows} == {1_795_311_438_974}


async def test_pages_go_back_in_time_and_can_be_of_one_key(log: AuditLog):
    for number in range(5):
        actor = "day-shift" if number % 2 else "night-shift"
        await log.record(replace(CHANGE, actor=actor, subject=str(number), via="api"))
    first = await log.page(0, 2)
    then = await log.page(first[-1].id, 10)
    assert [row.subject for row in (*first, *then)] == ["4", "3", "2", "1", "0"]
    assert [row.subject for row in await log.page(0, 9, actor="day-shift")] == ["3", "1"]
    assert await log.page(0, 9, via="console") == []


@pytest.mark.parametrize("verb", [update(audit_log).values(actor="nobody"), delete(audit_log)])
async def test_no_row_can_be_changed_or_taken_away(log: AuditLog, engine: AsyncEngine, verb):
    await log.record(CHANGE)
    with pytest.raises(DBAPIError, match="can only be added"):
        async with writing(engine) as connection:
            await connection.execute(verb)
    (row,) = await log.page(0, 9)
    assert row.actor == "night-shift"


async def test_somebody_who_goes_away_takes_no_row_along(log: AuditLog):
    leaving = asyncio.ensure_future(log.record(CHANGE))
    staying = asyncio.ensure_future(log.record(replace(CHANGE, actor="day-shift")))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert {row.actor for row in await log.page(0, 9)} == {"night-shift", "day-shift"}


async def test_a_row_that_sql_refuses_leaves_nobody_waiting(log: AuditLog):
    changes = [replace(CHANGE, status=2**70), replace(CHANGE, subject="beside it")]
    async with asyncio.timeout(60):
        told = await asyncio.gather(*map(log.record, changes), return_exceptions=True)
    assert all(isinstance(one, Exception) for one in told)
    await log.record(replace(CHANGE, subject="after it"))
    assert [row.subject for row in await log.page(0, 9)] == ["after it"]


async def test_what_is_no_text_is_on_record_all_the_same(log: AuditLog):
    await log.record(replace(CHANGE, subject="/v1/pools/a\0b\ud800/pause"))
    (row,) = await log.page(0, 9)
    assert row.subject == "/v1/pools/a\N{REPLACEMENT CHARACTER}b?/pause"


class Stuck(AuditLog):
    """Its database answers nothing, until it does."""

    is_stuck = True

    async def _insert(self, rows: list[dict[str, Any]]) -> Any:
        if self.is_stuck:
            await asyncio.Event().wait()
        return await super()._insert(rows)


@pytest.mark.parametrize("has_begun", [False, True], ids=["before it began", "under way"])
async def test_whoever_waits_for_a_writer_that_is_cut_off_hears_of_it(
    log: AuditLog, engine: AsyncEngine, *, has_begun: bool
):
    stuck = Stuck(engine, lambda: 1)
    others = asyncio.all_tasks()
    waiting = [asyncio.ensure_future(stuck.record(CHANGE)) for _ in range(ROWS_AT_ONCE + 1)]
    await asyncio.sleep(0)
    (writer,) = asyncio.all_tasks() - others - set(waiting)
    if has_begun:
        await asyncio.sleep(0)
    writer.cancel()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(one) for one in told} == {LedgerUnavailable}
    stuck.is_stuck = False
    await stuck.record(CHANGE)
    assert [row.actor for row in await log.page(0, 9)] == ["night-shift"], "the next one is written"
