"""The broadcaster alone: one look for all, bounded, and never stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from flashstock.console import broadcast
from flashstock.console.broadcast import FAILED, LINGER_SECONDS, Broadcaster, as_events
from flashstock.errors import Overloaded


class Counting:
    """A subject that counts how often it is looked at, and may fail."""

    def __init__(self) -> None:
        self.looks = 0
        self.fails = False

    async def look(self) -> None:
        self.looks += 1
        if self.fails:
            raise RuntimeError("drawn badly")

    def draw(self) -> str:
        return f"picture {self.looks}"


class Ticks:
    """Time that passes when the test says so, a second at a time."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future

    async def tick(self) -> None:
        """One second, and whatever follows from it."""
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        await settled()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def broadcaster(ticks: Ticks) -> AsyncIterator[Broadcaster]:
    made = Broadcaster(ticks.sleep)
    yield made
    await made.stop()


async def collect(pictures: AsyncIterator[str], into: list[str]) -> None:
    async for picture in pictures:
        into += [picture]


async def test_one_look_a_round_however_many_watch(broadcaster: Broadcaster, ticks: Ticks):
    subject = Counting()
    seen: list[list[str]] = [[] for _ in range(50)]
    watching = [
        asyncio.ensure_future(
            collect(broadcaster.watch(broadcaster.admit("one", lambda: subject)), into)
        )
        for into in seen
    ]
    await settled()
    for _ in range(3):
        await ticks.tick()
    assert subject.looks == 4
    assert all(pictures == [f"picture {number}" for number in (1, 2, 3, 4)] for pictures in seen)
    assert broadcaster.viewers == 50
    for one in watching:
        one.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    assert broadcaster.viewers == 0


async def test_nothing_is_read_for_nobody(broadcaster: Broadcaster, ticks: Ticks):
    subject = Counting()
    watching = asyncio.ensure_future(
        collect(broadcaster.watch(broadcaster.admit("one", lambda: subject)), [])
    )
    await settled()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    for _ in range(int(LINGER_SECONDS) + 5):
        await ticks.tick()
    looks = subject.looks
    assert looks <= LINGER_SECONDS + 1
    for _ in range(5):
        await ticks.tick()
    assert subject.looks == looks
    assert await broadcaster.picture("one", lambda: subject) == f"picture {looks + 1}"


async def test_a_slow_viewer_misses_pictures_and_holds_nobody_up(
    broadcaster: Broadcaster, ticks: Ticks
):
    subject = Counting()
    slow = broadcaster.watch(broadcaster.admit("one", lambda: subject))
    quick: list[str] = []
    watching = asyncio.ensure_future(
        collect(broadcaster.watch(broadcaster.admit("one", lambda: subject)), quick)
    )
    assert await anext(slow) == "picture 1"
    for _ in range(4):
        await ticks.tick()
    assert len(quick) == 5
    assert await anext(slow) == "picture 5"
    watching.cancel()


async def test_there_are_only_so_many_viewers_and_topics(
    broadcaster: Broadcaster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(broadcast, "VIEWERS_MAX", 2)
    monkeypatch.setattr(broadcast, "TOPICS_MAX", 2)
    streams = [broadcaster.watch(broadcaster.admit(name, Counting)) for name in ("a", "b")]
    for stream in streams:
        await anext(stream)
    with pytest.raises(Overloaded):
        broadcaster.admit("a", Counting)
    with pytest.raises(Overloaded):
        await broadcaster.picture("c", Counting)
    await streams[0].aclose()
    assert await broadcaster.picture("c", Counting) == "picture 1"


async def test_a_part_that_can_not_be_drawn_is_drawn_the_next_time(
    broadcaster: Broadcaster, ticks: Ticks
):
    subject = Counting()
    subject.fails = True
    stream = broadcaster.watch(broadcaster.admit("one", lambda: subject))
    assert await anext(stream) == FAILED
    subject.fails = False
    await ticks.tick()
    assert await anext(stream) == "picture 2"


async def test_draining_ends_every_stream(broadcaster: Broadcaster):
    streams = [broadcaster.watch(broadcaster.admit(name, Counting)) for name in ("a", "b")]
    for stream in streams:
        await anext(stream)
    broadcaster.drain()
    assert [[picture async for picture in stream] for stream in streams] == [[], []]


async def test_a_stream_ends_after_a_while_and_the_browser_comes_back(
    broadcaster: Broadcaster, ticks: Ticks, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(broadcast, "STREAM_SECONDS", 0.0)
    stream = broadcaster.watch(broadcaster.admit("one", Counting))
    assert [picture async for picture in stream] == []


async def test_events_are_events_and_end_with_the_session():
    async def pictures() -> AsyncIterator[str]:
        for text in ("<p>\n1</p>", "<p>2</p>", "<p>3</p>"):
            yield text

    valid = iter([True, True, False])
    found = [event async for event in as_events(pictures(), lambda: next(valid))]
    assert found[1:] == [
        b"id: 1\ndata: <p>\ndata: 1</p>\n\n",
        b"id: 2\ndata: <p>2</p>\n\n",
        b"event: signed-out\ndata: -\n\n",
    ]
