"""The statistics are the fold of the journal, however it was cut, and however often."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from flashstock.ledger.engine import reading
from flashstock.model import events
from flashstock.statistics import folder as module
from flashstock.statistics.folder import Folder
from flashstock.statistics.queries import Grain
from flashstock.statistics.tables import (
    COUNTS,
    statistics_cursors,
    statistics_lives,
    statistics_minutes,
)
from flashstock.statistics.tally import Tally, minute_of
from tests.contract.ledger.test_histories import STEPS, Sale, _with_one_counter
from tests.contract.ledger.written_groups import (
    failed,
    formed,
    opened,
    pool_of_groups,
    refunded,
    seats,
)
from tests.contract.ledger.written_log import (
    NOW_MS,
    POOL,
    Log,
    cancelled,
    confirmed,
    created,
    held,
)
from tests.statistics.conftest import no_pause

MINUTE_MS = 60_000
_shards = count(1)


async def contents(engine) -> dict[str, Any]:
    """Everything that can be folded again."""
    async with reading(engine) as connection:
        found = {}
        for table in (statistics_cursors, statistics_minutes, statistics_lives):
            statement = select(table).order_by(*table.primary_key.columns)
            found[table.name] = [tuple(row) for row in await connection.execute(statement)]
        return found


def holds_ended(event: events.Event) -> int:
    """What is only ordered holds nothing, so no hold ends with it."""
    if isinstance(event, events.Released):
        return len(event.releases)
    return int(isinstance(event, events.Confirmed) and event.before == "held")


class SlowSale(Sale):
    """A sale whose steps lie minutes apart."""

    def step(self, what: int, which: int, much: int) -> None:
        self.at_ms += 7_000 * much
        super().step(what, which, much)


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # each example is a database full
)
@given(
    steps=STEPS,
    batches=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    pieces=st.integers(1, 5),
)
async def test_folding_piece_by_piece_is_folding_all_again(
    book, engine, folder, statistics, monkeypatch, steps, batches, pieces
):
    shard = next(_shards)
    sales = [SlowSale(f"pool-{shard}-{name}") for name in "ab"]
    for which_pool, what, which, much in steps:
        sales[which_pool].step(what, which, much)
    entries = Log(shard).entries(*_with_one_counter(sales))
    cursor = await book.ledger.create_cursor(shard)
    sizes = iter(batches * len(entries))
    left = list(entries)
    with monkeypatch.context() as patched:
        patched.setattr(module, "ENTRIES_AT_ONCE", pieces)
        while left:
            batch = left[: next(sizes)]
            cursor = (await book.ledger.apply(cursor, batch)).cursor
            del left[: len(batch)]
            await folder.fold_some(shard)
        await folder.catch_up()
    piecemeal = await contents(engine)
    assert await folder.recompute() >= len(entries)
    assert await contents(engine) == piecemeal
    for sale in sales:
        report = await statistics.pool(sale.pool, 0, 10**12, Grain.TOTAL)
        stored = await book.queries.pool(sale.pool)
        assert (report.stock.total, report.stock.held, report.stock.sold, report.stock.locked) == (
            stored.counters.total,
            stored.counters.held,
            stored.counters.sold,
            stored.counters.locked,
        )
        assert report.total.counts["held_count"] == len(sale.grants)
        ended = sum(map(holds_ended, sale.history))
        assert report.total.counts["lives_count"] == ended
        assert report.total.lives.total() == ended


async def test_several_folders_count_once(book, engine, folder):
    await book.write(created(1_000))
    for number in range(1, 40):
        await book.write(held(number))
        await book.write(confirmed(number))
    await asyncio.gather(*(Folder(engine, sleep=no_pause).catch_up() for _ in range(4)))
    together = await contents(engine)
    await folder.recompute()
    assert await contents(engine) == together


async def test_what_sql_refused_is_not_counted(book, folder, statistics):
    await book.write(created(10), held(1, 2), confirmed(1))
    refused = await book.apply(book.log.entries(held(3, 1, 4), cancelled(2)))
    assert len(refused.quarantined) == 1
    await folder.catch_up()
    report = await statistics.pool(POOL, 0, NOW_MS + 1, Grain.TOTAL)
    assert report.total.counts["held_count"] == 4
    total, held_units, sold, locked = await book.units()
    assert (report.stock.total, report.stock.held) == (total, held_units)
    assert (report.stock.sold, report.stock.locked) == (sold, locked)


async def test_an_entry_that_can_not_be_read_is_passed_over(book, folder, statistics):
    await book.write(created(10))
    entry = book.log.raw("held", "not a payload at all")
    assert (await book.apply([entry])).quarantined
    await book.write(held(1))
    await folder.catch_up()
    report = await statistics.pool(POOL, 0, NOW_MS + 1, Grain.TOTAL)
    assert report.total.counts["held_count"] == 1


async def test_a_new_generation_goes_on_where_the_old_one_ended(book, folder, statistics):
    await book.write(created(10), held(1))
    await folder.catch_up()
    book.cursor = await book.ledger.bump_generation(0, 1, 0, "tests", 1_000)
    book.log.generation = 2
    await book.write(held(2))
    await folder.catch_up()
    report = await statistics.pool(POOL, 0, NOW_MS + 1, Grain.TOTAL)
    assert report.total.counts["held_count"] == 2


async def test_a_folder_that_dies_between_two_pieces_costs_nothing(book, engine, folder):
    await book.write(created(1_000))
    for number in range(1, 20):
        await book.write(held(number))

    class Cut(Exception):
        pass

    async def cut(_):
        raise Cut

    with pytest.raises(Cut):
        await Folder(engine, sleep=cut).catch_up()
    await folder.catch_up()
    found = await contents(engine)
    await folder.recompute()
    assert await contents(engine) == found


async def test_groups_are_counted(book, folder, statistics):
    await book.write(pool_of_groups(), opened(1, 11), seats(1, 1, 2, 3), seats(11, 11))
    await book.write(*(confirmed(number) for number in (1, 2, 3, 11)), formed(1, 3))
    await book.write(failed(11, 1), refunded(11, 11))
    await folder.catch_up()
    report = await statistics.pool(POOL, 0, NOW_MS + 1, Grain.TOTAL)
    counts = report.total.counts
    assert [counts[f"groups_{what}"] for what in ("opened", "formed", "failed")] == [2, 1, 1]
    assert (counts["paid_count"], counts["refunded_count"], counts["refunded_units"]) == (4, 1, 1)
    assert (report.stock.sold, report.stock.held) == (3, 0)


def test_every_count_has_a_column_and_the_other_way_round():
    tally = Tally()
    sale = SlowSale("p")
    for what in range(11):
        for which in range(6):
            sale.step(what, which, 1)
            sale.step(0, which, 1)
    for entry, event in zip(Log().entries(*sale.history), sale.history, strict=True):
        tally.add(entry, event)
    tally.add_lives((end, 1) for end in tally.ends)
    named = {name for counts in tally.minutes.values() for name in counts}
    assert named <= set(COUNTS)


def test_minutes():
    assert minute_of(NOW_MS) % MINUTE_MS == 0
    assert 0 <= NOW_MS - minute_of(NOW_MS) < MINUTE_MS
