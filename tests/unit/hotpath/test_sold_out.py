"""What a lane may say by itself once a script said that nothing is left."""

from __future__ import annotations

import pytest

from flashstock.errors import Unavailable
from flashstock.hotpath.scripts import Verdict
from tests.unit.hotpath.fakes import Scene, reply, scene, settle

SOLD_OUT = int(Verdict.SOLD_OUT)
STALE_S = 0.050


async def sold_out(*, grants: int = 1, next_wave_ms: int = 0, known: bytes = b"mine") -> Scene:
    """A lane that has just been told so. The reply's own time is 1000 ms."""
    it = scene()
    it.store.answers = [reply(b"3", available=0, grants=grants, next_wave_ms=next_wave_ms)]
    it.store.known_answer = (grants, frozenset([known]))
    await it.submit("first")[0]
    await settle()
    return it


async def asks(it: Scene, digest: str) -> bool:
    """Does the lane ask the store about this request?"""
    before = len(it.store.batches)
    future = it.submit(digest)[0]
    await settle()
    if len(it.store.batches) > before:
        return True
    assert future.result().verdict == SOLD_OUT
    return False


async def test_nothing_left_is_repeated_without_asking():
    it = await sold_out()
    answer = await it.submit("other")[0]
    assert (answer.verdict, answer.batch.available) == (SOLD_OUT, 0)
    assert len(it.store.batches) == 1


@pytest.mark.parametrize(("after_s", "asked"), [(STALE_S - 0.001, False), (STALE_S, True)])
async def test_for_a_bounded_time(after_s, asked):
    it = await sold_out()
    it.clock.now_s += after_s
    assert await asks(it, "other") is asked


async def test_the_time_counts_from_when_it_was_heard():
    """Not from when the list of known requests had arrived."""
    it = scene()
    it.store.answers = [reply(b"3", available=0)]
    it.store.known_gate.clear()
    it.submit("first")
    await settle()
    it.clock.now_s += STALE_S / 2
    it.store.known_gate.set()
    await settle()
    it.clock.now_s += STALE_S / 2
    assert await asks(it, "other")


@pytest.mark.parametrize(("after_s", "asked"), [(0.009, False), (0.010, True)])
async def test_a_wave_ends_it(after_s, asked):
    it = await sold_out(next_wave_ms=1010)
    it.clock.now_s += after_s
    assert await asks(it, "other") is asked


async def test_never_to_a_request_that_holds_something():
    """Its repetition must get the hold, not a refusal."""
    it = await sold_out(known=b"mine")
    assert await asks(it, "mine")


async def test_never_while_something_is_left():
    it = scene()
    it.store.answers = [reply(b"3", available=1)]
    await it.submit("first")[0]
    assert await asks(it, "other")
    assert it.store.known_calls == 0


async def test_never_before_it_is_known_who_holds_something():
    it = scene()
    it.store.answers = [reply(b"3", available=0)]
    it.store.known_gate.clear()
    await it.submit("first")[0]
    await settle()
    assert it.lanes.lane("p").sold_out("other") is None
    it.store.known_gate.set()
    await settle()
    assert it.lanes.lane("p").sold_out("other") is not None


async def test_never_when_that_could_not_be_found_out():
    it = scene()
    it.store.answers = [reply(b"3", available=0)]
    it.store.known_answer = Unavailable()
    await it.submit("first")[0]
    await settle()
    assert await asks(it, "other")


async def test_never_when_somebody_was_granted_something_meanwhile():
    """The list is of another moment than the answer, so it may lack the newest hold."""
    it = scene()
    it.store.answers = [reply(b"3", available=0, grants=1)]
    it.store.known_answer = (2, frozenset())
    await it.submit("first")[0]
    await settle()
    assert await asks(it, "other")


async def again(it: Scene, **changes: object) -> None:
    """The memory is over, the lane asks again and hears that nothing is left."""
    it.clock.now_s += STALE_S
    it.store.answers = [reply(b"3", available=0, **changes)]  # type: ignore[arg-type]
    await it.submit("again")[0]
    await settle()


async def test_the_list_is_read_again_only_when_somebody_was_granted_something():
    it = await sold_out(grants=1)
    await again(it, grants=1)
    assert it.store.known_calls == 1
    assert not await asks(it, "other")
    it.store.known_answer = (2, frozenset([b"newest"]))
    await again(it, grants=2)
    assert it.store.known_calls == 2
    assert not await asks(it, "other")
    assert await asks(it, "newest")


async def test_the_list_of_another_data_set_is_another_list():
    it = await sold_out(grants=1, known=b"mine")
    it.store.known_answer = (1, frozenset([b"theirs"]))
    await again(it, grants=1, generation="2")
    assert it.store.known_calls == 2
    assert await asks(it, "theirs")


async def test_a_pool_too_large_to_remember_is_always_asked_and_read_once():
    it = scene()
    it.store.known_answer = None
    for _ in range(3):
        it.store.answers = [reply(b"3", available=0)]
        assert await asks(it, "other")
    assert it.store.known_calls == 1


async def test_a_pool_that_became_too_large_is_asked_again():
    it = await sold_out(grants=1)
    it.store.known_answer = None
    await again(it, grants=2)
    assert await asks(it, "other")


async def test_a_batch_that_was_granted_something_ends_it_at_once():
    """It was queued before the memory, so it was asked; its repetition must get its hold."""
    it = scene()
    it.store.answers = [
        reply(b"3", available=0, grants=1),
        reply(b"0", available=0, grants=2, seq=2),
    ]
    it.store.gate.clear()
    first = it.submit("first")[0]
    await settle()
    second = it.submit("second")[0]
    it.store.known_answer = (1, frozenset())
    it.store.gate.set()
    await first
    assert (await second).verdict == 0
    assert it.lanes.lane("p").sold_out("second") is None
