"""A network that loses replies: it sits between a client and the service, and cuts connections."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Cut:
    """The connection ends after so many bytes of the reply (or of the request) went through."""

    reply_bytes: int = 0
    request_bytes: int | None = None
    """Where it is set, the rest of the request is lost as well."""


class FaultProxy:
    """Passes everything on, except on the connections for which a cut is due.

    Connections take the cuts in the order in which they come.
    """

    def __init__(self, upstream: str) -> None:
        where = urlsplit(upstream)
        self._upstream = (where.hostname, where.port)
        self.due: deque[Cut] = deque()
        self.cuts = 0
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = self.due.popleft() if self.due else None
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        try:
            if cut is None:
                await asyncio.gather(_pass(reader, up_writer), _pass(up_reader, writer))
            else:
                await self._cut(cut, reader, writer, up_reader, up_writer)
        finally:
            for one in (writer, up_writer):
                one.close()

    async def _cut(
        self,
        cut: Cut,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        self.cuts += 1
        if cut.request_bytes is not None:
            up_writer.write(await reader.readexactly(cut.request_bytes))
            await up_writer.drain()
        else:
            requesting = asyncio.ensure_future(_pass(reader, up_writer))
            # The service has answered: what it decided stands, whoever hears of it.
            reply = await up_reader.read(65_536)
            assert len(reply) > cut.reply_bytes, reply
            writer.write(reply[: cut.reply_bytes])
            requesting.cancel()
            await asyncio.gather(requesting, return_exceptions=True)
        with suppress(ConnectionError):
            await writer.drain()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while received := await reader.read(65_536):
            writer.write(received)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


@asynccontextmanager
async def fault_proxy(upstream: str) -> AsyncIterator[FaultProxy]:
    """A proxy that listens on a port of its own."""
    proxy = FaultProxy(upstream)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
