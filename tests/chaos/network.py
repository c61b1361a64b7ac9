"""A wire that loses, tears, delays and withholds what goes over it, while connections live on.

``tests/recovery/proxy.py`` cuts connections as they begin; between the service and Valkey they
last for hours, so here it is the next bytes that meet the fault, on whichever connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum

Upstream = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

CHUNK_BYTES = 65_536
ENDING_SECONDS = 10.0


class Way(Enum):
    REQUEST = "request"
    REPLY = "reply"


@dataclass(frozen=True)
class Cut:
    """The connection ends at the next bytes that go this way."""

    way: Way
    kept: float = 0.0
    """The part of them that still goes through: none, or some but never all."""

    def kept_bytes(self, received: bytes) -> int:
        return min(len(received) - 1, max(1, int(len(received) * self.kept))) if self.kept else 0


class Wire:
    """Passes everything on, until it is told otherwise."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None] | None] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self.due: deque[Cut] = deque()
        self.cuts = 0
        self.delayed = 0
        self.delay_s = 0.0
        self.refuses = False
        self.port = 0

    def withhold(self) -> None:
        """Let nothing through until ``release``; no connection ends."""
        self._passing.clear()

    def release(self) -> None:
        self._passing.set()

    def sever(self) -> int:
        """End every connection at once; how many there were."""
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()
        return len(writers)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        ends = [writer]
        self._writers.add(writer)
        self._serving.add(asyncio.current_task())
        try:
            if self.refuses:
                return
            up_reader, up_writer = await self._upstream()
            ends.append(up_writer)
            self._writers.add(up_writer)
            both = {
                asyncio.ensure_future(self._pass(Way.REQUEST, reader, up_writer)),
                asyncio.ensure_future(self._pass(Way.REPLY, up_reader, writer)),
            }
            # Whoever goes away, the other side hears of it, as it would without us.
            _, rest = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in rest:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        except OSError:
            return  # nobody listens there now
        finally:
            for one in ends:
                self._writers.discard(one)
                one.close()
            self._serving.discard(asyncio.current_task())

    async def ended(self) -> None:
        """Wait until no connection is served any more."""
        async with asyncio.timeout(ENDING_SECONDS):
            while self._serving:  # noqa: ASYNC110 (they end one by one)
                await asyncio.sleep(0.01)

    async def _pass(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while received := await reader.read(CHUNK_BYTES):
                if self.due and self.due[0].way is way:
                    cut = self.due.popleft()
                    self.cuts += 1
                    writer.write(received[: cut.kept_bytes(received)])
                    await writer.drain()
                    return
                if self.delay_s or not self._passing.is_set():
                    self.delayed += 1
                    await asyncio.sleep(self.delay_s)
                    await self._passing.wait()
                writer.write(received)
                await writer.drain()


@asynccontextmanager
async def wire(upstream: Upstream) -> AsyncIterator[Wire]:
    """A wire that listens on a port of its own."""
    made = Wire(upstream)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.release()
        made.refuses = True
        made.sever()
        await made.ended()
