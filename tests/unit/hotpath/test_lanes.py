"""Lanes: what is sent together, who is answered when, and what happens when nobody answers."""

from __future__ import annotations

import asyncio

import pytest

from flashstock.errors import Overloaded, Recovering, Unavailable
from tests.unit.hotpath.fakes import reply, scene, settle


async def test_an_idle_lane_sends_within_the_same_turn_of_the_loop():
    it = scene()
    it.submit("a")
    await asyncio.sleep(0)
    assert it.store.batches == [["a"]]


async def test_what_arrives_in_one_turn_goes_together():
    it = scene()
    it.submit("a", "b")
    await settle()
    assert it.store.batches == [["a", "b"]]
    assert it.store.units_wanted == [2]


async def test_what_arrives_while_a_call_is_in_flight_is_the_next_batch():
    it = scene()
    it.store.gate.clear()
    first = it.submit("a")
    await settle()
    later = it.submit("b") + it.submit("c")
    await settle()
    assert it.store.batches == [["a"]]
    it.store.gate.set()
    await asyncio.gather(*first, *later)
    assert it.store.batches == [["a"], ["b", "c"]]
    assert it.observed == [1, 2]


async def test_a_batch_has_its_limit_and_order_is_kept():
    it = scene(batch_max=3)
    futures = it.submit(*"abcdefg")
    await asyncio.gather(*futures)
    assert it.store.batches == [list("abc"), list("def"), ["g"]]


async def test_more_than_a_batch_is_sent_at_once():
    it = scene(batch_max=3)
    it.store.gate.clear()
    futures = it.submit(*"abcdefg")
    assert it.lanes.waiting == 7
    await settle()
    assert it.lanes.waiting == 0
    assert it.store.batches == [list("abc"), list("def"), ["g"]]
    later = it.submit("h")
    await settle()
    assert len(it.store.batches) == 3, "what comes later waits for the answers"
    it.store.gate.set()
    await asyncio.gather(*futures, *later)
    assert it.store.batches[3:] == [["h"]]


async def test_lanes_do_not_wait_for_each_other():
    it = scene()
    it.store.gate.clear()
    it.lanes.submit("p", "a", "ann", 1)
    it.lanes.submit("q", "b", "ann", 1)
    await settle()
    assert it.store.batches == [["a"], ["b"]]
    it.store.gate.set()
    await settle()


async def test_what_is_attested_is_handed_on_where_anything_is():
    it = scene()
    it.lanes.submit("p", "a", "ann", 1)
    it.lanes.submit("p", "b", "bob", 1, "1000")
    it.lanes.submit("q", "c", "ann", 1)
    await settle()
    assert it.store.attests == [["", "1000"], None]


async def test_each_request_gets_its_own_verdict():
    it = scene(batch_max=5)
    it.store.answers = [reply(b"01314", replays=(b"first", b"second"))]
    answers = await asyncio.gather(*it.submit(*"abcde"))
    assert [answer.verdict for answer in answers] == [0, 1, 3, 1, 4]
    assert [answer.replay for answer in answers] == [None, b"first", None, b"second", None]
    assert {answer.batch.verdicts for answer in answers} == {b"01314"}


async def test_a_full_lane_refuses_at_once_and_queues_nothing():
    it = scene(batch_max=3, pending_max=4)
    it.store.gate.clear()
    in_flight = it.submit("a")
    await settle()
    waiting = it.submit(*"bcde")
    with pytest.raises(Overloaded):
        it.submit("f")
    it.store.gate.set()
    await asyncio.gather(*in_flight, *waiting)
    assert it.store.batches == [["a"], list("bcd"), ["e"]]
    await it.submit("f")[0]


async def test_a_writer_that_is_too_far_behind_stops_admission():
    it = scene(backlog_events_max=10)
    it.store.answers = [reply(b"0", seq=11)]
    await it.submit("a")[0]
    with pytest.raises(Overloaded, match="too far behind"):
        it.submit("b")
    it.applied.announce(0, "1", 1)
    await it.submit("b")[0]


async def test_a_caller_that_hangs_up_takes_nobody_along():
    it = scene()
    it.store.gate.clear()
    leaving, staying = it.submit("a", "b")
    await settle()
    leaving.cancel()
    queued_leaving, queued_staying = it.submit("c", "d")
    queued_leaving.cancel()
    it.store.gate.set()
    assert (await staying).verdict == 0
    assert (await queued_staying).verdict == 0
    assert it.store.batches == [["a", "b"], ["c", "d"]]


async def test_a_fast_pool_answers_when_the_script_has_run():
    it = scene()
    it.store.answers = [reply(b"0", fast=True, seq=7)]
    assert (await it.submit("a")[0]).verdict == 0
    assert it.applied.applied(0) == 0
    assert it.commits == []


async def test_a_ledger_pool_answers_when_the_hold_is_committed():
    it = scene()
    it.store.answers = [reply(b"01", fast=False, seq=7, replays=(b"r",))]
    held, replayed = it.submit("a", "b")
    await settle()
    it.applied.announce(0, "1", 6)
    await settle()
    assert not held.done()
    assert it.commits == []
    assert not replayed.done(), "a repetition promises as much as the first answer"
    it.applied.announce(0, "1", 7)
    await settle()
    assert held.result().verdict == 0
    assert replayed.result().replay == b"r"
    assert it.commits == ["p"], "once for the batch"


async def test_a_refusal_does_not_wait_for_anybodys_commit():
    it = scene(batch_max=5)
    it.store.answers = [reply(b"03104", fast=False, seq=7, replays=(b"r",))]
    futures = it.submit(*"abcde")
    await settle()
    assert [future.done() for future in futures] == [False, True, False, False, True]
    assert [futures[1].result().verdict, futures[4].result().verdict] == [3, 4]
    it.applied.announce(0, "1", 7)
    assert [answer.verdict for answer in await asyncio.gather(*futures)] == [0, 3, 1, 0, 4]


async def test_a_batch_of_refusals_alone_waits_for_nothing():
    it = scene()
    it.store.answers = [reply(b"3", fast=False, seq=7)]
    assert (await it.submit("a")[0]).verdict == 3
    assert it.applied.waiting() == 0


async def test_the_lane_goes_on_while_a_commit_is_awaited():
    it = scene()
    it.store.answers = [reply(b"0", fast=False, seq=1), reply(b"0", fast=False, seq=2)]
    first = it.submit("a")[0]
    await settle()
    second = it.submit("b")[0]
    await settle()
    assert it.store.batches == [["a"], ["b"]]
    assert it.applied.waiting() == 2
    it.applied.announce(0, "1", 2)
    await asyncio.gather(first, second)


@pytest.mark.parametrize("failure", [Unavailable(), Recovering(), RuntimeError("unforeseen")])
async def test_a_failure_reaches_everyone_of_its_batch_and_nobody_else(failure):
    it = scene(batch_max=2)
    it.store.answers = [failure]
    futures = it.submit(*"abcd")
    outcomes = await asyncio.gather(*futures[:2], return_exceptions=True)
    assert outcomes == [failure, failure]
    assert [(await future).verdict for future in futures[2:]] == [0, 0]


async def test_an_answer_of_the_wrong_length_leaves_nobody_waiting():
    it = scene()
    it.store.answers = [reply(b"0")]
    outcomes = await asyncio.gather(*it.submit("a", "b"), return_exceptions=True)
    assert any(isinstance(outcome, ValueError) for outcome in outcomes)


async def test_a_commit_that_does_not_come_is_not_acknowledged():
    it = scene(applied_timeout_ms=1)
    it.store.answers = [reply(b"0", fast=False, seq=7)]
    with pytest.raises(Unavailable):
        await it.submit("a")[0]


async def test_a_failure_that_nobody_foresaw_leaves_nobody_waiting(monkeypatch):
    it = scene()
    it.store.answers = [reply(b"00", fast=False, seq=7)]

    async def wait(*_: object) -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(it.applied, "wait", wait)
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*it.submit("a", "b"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [RuntimeError, RuntimeError]


async def test_a_hold_of_an_older_data_set_is_not_acknowledged():
    it = scene()
    it.store.answers = [reply(b"0", fast=False, seq=7), reply(b"0", fast=False, seq=8)]
    waiting = it.submit("a")[0]
    await settle()
    it.applied.open_shard(0, "2", 100)
    with pytest.raises(Recovering):
        await waiting
    with pytest.raises(Recovering):
        await it.submit("b")[0]


async def test_a_pool_has_one_lane_and_idle_lanes_make_room():
    it = scene(lanes_max=2)
    first = it.lanes.lane("p")
    assert it.lanes.lane("p") is first
    it.store.gate.clear()
    busy = it.lanes.submit("p", "a", "ann", 1)
    await settle()
    it.lanes.lane("q")
    it.lanes.lane("r")
    assert it.lanes.lane("p") is first, "a lane with requests in flight stays"
    also_busy = it.lanes.submit("r", "b", "ann", 1)
    with pytest.raises(Overloaded):
        it.lanes.lane("s")
    it.store.gate.set()
    await asyncio.gather(busy, also_busy)
    it.lanes.lane("s")
