"""One reading a second for all who watch the same thing, however many they are.

A topic is read and drawn while somebody watches it, and a while longer; nothing is read for
nobody. A viewer who is slow misses pictures and never makes others wait: only the last one is
kept. Everything is bounded: topics, viewers, and how long one answer lasts (browsers come back by
themselves, and their session is looked at anew).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

from flashstock.errors import Overloaded

INTERVAL_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 60.0
"""How long a topic nobody watches is kept going, so that a reload finds its past."""
TOPICS_MAX: Final = 24
VIEWERS_MAX: Final = 100
"""Of one process."""
STREAM_SECONDS: Final = 600.0
FAILED: Final = '<p class="notice bad">This part could not be drawn; the log says why.</p>'

_log = logging.getLogger("flashstock.console")


class Subject(Protocol):
    """Something to watch."""

    async def look(self) -> None:
        """Read once. Trouble with the stores is part of the picture, and not raised."""
        ...

    def draw(self) -> str:
        """The picture, as HTML."""
        ...


class Topic:
    """One subject with its viewers."""

    def __init__(self, subject: Subject, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._subject = subject
        self._sleep = sleep
        self.viewers = 0
        self.version = 0
        self.picture = ""
        self._changed = asyncio.Event()
        self._idle_rounds = 0
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Look again and again, until nobody has watched for a while."""
        self._idle_rounds = 0
        if not self.running:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def first(self) -> str:
        """The last picture, or one that is drawn for this."""
        if not self.running:
            await self._once()
        elif not self.version:
            await self._changed.wait()
        return self.picture

    async def after(self, version: int) -> None:
        """Wait until there is a newer picture."""
        while self.version <= version:
            await self._changed.wait()

    def cancel(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """Cancel what runs, and wait for it."""
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._idle_rounds * INTERVAL_SECONDS < LINGER_SECONDS:
            self._idle_rounds = 0 if self.viewers else self._idle_rounds + 1
            await self._once()
            await self._sleep(INTERVAL_SECONDS)

    async def _once(self) -> None:
        async with self._looking:
            try:
                await self._subject.look()
                self.picture = self._subject.draw()
            except Exception:  # noqa: BLE001 (logged, and shown: the next picture may be well)
                _log.exception("a live part of the console could not be drawn")
                self.picture = FAILED
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Broadcaster:
    """All topics of one process.

    Args:
        sleep: waits so many seconds between two looks.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._topics: dict[str, Topic] = {}
        self._viewers = 0
        self._draining = asyncio.Event()

    @property
    def viewers(self) -> int:
        """How many watch at present."""
        return self._viewers

    async def picture(self, name: str, make: Callable[[], Subject]) -> str:
        """What a page shows before its first live picture comes."""
        return await self._topic(name, make).first()

    def admit(self, name: str, make: Callable[[], Subject]) -> Topic:
        """The topic for one more viewer.

        Raises:
            Overloaded: as many watch as may, or they watch as many things.
        """
        if self._viewers >= VIEWERS_MAX:
            raise Overloaded("as many watch as may: try again later")
        return self._topic(name, make)

    async def watch(self, topic: Topic) -> AsyncGenerator[str, None]:
        """Pictures, each newer than the one before, until the process drains or the time is up."""
        self._viewers += 1
        topic.viewers += 1
        topic.start()
        over_at = asyncio.get_running_loop().time() + STREAM_SECONDS
        version = 0
        try:
            while not self._draining.is_set() and asyncio.get_running_loop().time() < over_at:
                if topic.version > version:
                    version = topic.version
                    yield topic.picture
                await self._newer_or_draining(topic, version)
        finally:
            self._viewers -= 1
            topic.viewers -= 1

    def drain(self) -> None:
        """End every stream."""
        self._draining.set()

    async def stop(self) -> None:
        """Cancel everything."""
        self.drain()
        for topic in self._topics.values():
            await topic.stop()

    async def _newer_or_draining(self, topic: Topic, version: int) -> None:
        waiting = [
            asyncio.ensure_future(topic.after(version)),
            asyncio.ensure_future(self._draining.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()

    def _topic(self, name: str, make: Callable[[], Subject]) -> Topic:
        found = self._topics.get(name)
        if found is None:
            if len(self._topics) >= TOPICS_MAX:
                self._make_room()
            found = self._topics[name] = Topic(make(), self._sleep)
        return found

    def _make_room(self) -> None:
        idle = [name for name, topic in self._topics.items() if not topic.viewers]
        if not idle:
            raise Overloaded("as many things are watched as may: try again later")
        self._topics.pop(idle[0]).cancel()


async def as_events(
    pictures: AsyncIterator[str], is_valid: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Pictures as server-sent events, for as long as the viewer may see them.

    Args:
        is_valid: whether the viewer's session still holds; looked at before each picture.
    """
    yield b"retry: 1000\n\n"
    number = 0
    async for picture in pictures:
        if not is_valid():
            yield b"event: signed-out\ndata: -\n\n"
            return
        number += 1
        lines = "".join(f"data: {line}\n" for line in picture.splitlines())
        yield f"id: {number}\n{lines}\n".encode()
