"""A number is given out twice where a server became a copy: only one of the two is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from flashstock.errors import Overloaded, Recovering, Unavailable
from flashstock.hotpath.applied import POSITIONS_KEPT, AppliedTracker
from flashstock.hotpath.position import Position, read_position
from flashstock.model.events import LogEntry
from tests.unit.hotpath.fakes import settle


class Log:
    """A log of single events, and the questions it was asked."""

    def __init__(self, **log_ids: str) -> None:
        self.log_ids = {int(name.removeprefix("seq")): log_id for name, log_id in log_ids.items()}
        self.asked: list[tuple[int, int]] = []
        self.too_long = False

    async def between(self, after_seq: int, up_to_seq: int, entries_max: int) -> Sequence[LogEntry]:
        self.asked.append((int(after_seq), int(up_to_seq)))
        assert entries_max == POSITIONS_KEPT
        if self.too_long:
            raise Overloaded
        return [
            LogEntry(0, 1, seq, 1, "held", "", log_id)
            for seq, log_id in sorted(self.log_ids.items())
            if after_seq < seq <= up_to_seq
        ]


def opened(log: Log | None = None) -> tuple[AppliedTracker, list[int]]:
    applied = AppliedTracker(1, 60_000)
    lost: list[int] = []
    applied.on_lost = lost.append
    if log is not None:
        applied.log_of = lambda _: log
    applied.open_shard(0, "1", Position(10, "10-0"))
    return applied, lost


async def waiting_for(applied: AppliedTracker, position: Position) -> asyncio.Task[None]:
    task = asyncio.create_task(applied.wait(0, "1", position))
    await settle()
    return task


def test_a_position_is_written_as_it_is_read():
    position = read_position(b"12:1764-3")
    assert (position, position.log_id, position.text()) == (12, "1764-3", "12:1764-3")
    assert read_position(b"12:").log_id == ""


async def test_whoever_waits_is_told_of_the_own_decision_only():
    applied, lost = opened()
    ours = await waiting_for(applied, Position(12, "12-0"))
    others = await waiting_for(applied, Position(12, "12-9"))
    middle = await waiting_for(applied, Position(11, "11-9"))
    decided = [Position(11, "11-0"), Position(12, "12-0")]
    applied.announce(0, "1", decided[-1], 10, decided)
    await ours
    for task in (others, middle):
        with pytest.raises(Recovering):
            await task
    assert lost == [0, 0]


async def test_what_is_committed_already_is_compared_too():
    """Also what the shard was opened at, where nothing has happened since."""
    applied, lost = opened()
    await applied.wait(0, "1", Position(10, "10-0"))
    with pytest.raises(Recovering):
        await applied.wait(0, "1", Position(10, "10-9"))
    assert lost == [0]


async def test_what_nobody_announced_is_looked_up_in_the_log():
    log = Log(seq11="11-0", seq12="12-0", seq13="13-0")
    applied, lost = opened(log)
    ours = await waiting_for(applied, Position(12, "12-0"))
    applied.announce(0, "1", Position(13, "13-0"))
    await ours
    with pytest.raises(Recovering):
        await applied.wait(0, "1", Position(11, "11-9"))
    assert (log.asked, lost) == ([(11, 13), (10, 13)], [0])


async def test_a_log_without_what_is_committed_has_nothing_to_tell():
    """It went the way of whoever waits, and SQL went another."""
    applied, lost = opened(Log(seq11="11-9", seq12="12-9"))
    waiting = await waiting_for(applied, Position(11, "11-9"))
    applied.announce(0, "1", Position(12, "12-0"))
    with pytest.raises(Recovering):
        await waiting
    assert lost == [0]


async def test_what_is_too_long_ago_is_neither_confirmed_nor_denied():
    log = Log()
    log.too_long = True
    applied, lost = opened(log)
    waiting = await waiting_for(applied, Position(11, "11-0"))
    applied.announce(0, "1", Position(99_999, "99-0"))
    with pytest.raises(Unavailable):
        await waiting
    assert lost == []


async def test_what_a_script_of_before_decided_is_told_by_its_number():
    """As long as a rolling deploy takes."""
    applied, lost = opened()
    applied.announce(0, "1", Position(12, "12-0"))
    await applied.wait(0, "1", Position(12, ""))
    await applied.wait(0, "1", 11)
    assert lost == []


async def test_no_more_is_remembered_than_is_useful():
    applied, _ = opened()
    for seq in range(11, 11 + 2 * POSITIONS_KEPT):
        applied.announce(0, "1", Position(seq, f"{seq}-0"), seq - 1)
    assert len(applied._log_ids[0]) == POSITIONS_KEPT
    await applied.wait(0, "1", Position(seq, f"{seq}-0"))


async def test_positions_of_one_generation_say_nothing_of_another():
    applied, _ = opened()
    applied.open_shard(0, "2", Position(10, "20-0"))
    await applied.wait(0, "2", Position(10, "20-0"))
