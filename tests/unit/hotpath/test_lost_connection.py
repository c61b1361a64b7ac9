"""A connection that the other side reset is one that is lost, on the event loop we serve on too."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
import uvloop

from flashstock.errors import Unavailable
from flashstock.hotpath.connection import connect, translated_failures
from flashstock.hotpath.pipe import Pipe

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)
TIMEOUT_MS = 30_000


class Store:
    """Says OK to everything, until it resets its connections."""

    def __init__(self) -> None:
        self._writers: list[asyncio.StreamWriter] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while received := await reader.read(65_536):
                writer.write(b"+OK\r\n" * received.count(b"*"))
        except ConnectionError:
            pass
        finally:
            writer.close()

    def reset(self) -> None:
        while self._writers:
            writer = self._writers.pop()
            taken = writer.get_extra_info("socket")
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()


async def started() -> tuple[asyncio.Server, Store]:
    store = Store()
    server = await asyncio.start_server(store.handle, "127.0.0.1", 0)
    store.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    return server, store


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_an_idle_connection_that_was_reset_is_a_store_that_did_not_answer(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def ask() -> None:
        server, store = await started()
        async with connect(store.url, timeout_ms=TIMEOUT_MS) as client:
            await client.execute_command("ECHO", "OK")
            (connection,) = client.connection_pool._available_connections
            writer = connection._writer
            assert writer is not None
            store.reset()
            while not writer.transport.is_closing():  # noqa: ASYNC110 (the reset is on its way)
                await asyncio.sleep(0)
            with pytest.raises(Unavailable), translated_failures():
                await client.execute_command("ECHO", "OK")
            assert await client.execute_command("ECHO", "OK") == b"OK"
        server.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(ask())


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_a_call_that_comes_before_the_pipe_has_heard_of_the_loss_is_told_of_it(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def ask() -> None:
        server, store = await started()
        pipe = Pipe(store.url, timeout_ms=TIMEOUT_MS)
        await pipe.call("PING")
        connection = pipe._connection
        assert connection is not None
        assert connection._writer is not None
        connection._writer.transport.abort()
        # Its turn is after the transport has closed, and before that of whoever reads.
        with pytest.raises(Unavailable), translated_failures():
            await asyncio.create_task(pipe.call("PING"))
        assert await pipe.call("PING") == b"OK"
        await pipe.aclose()
        server.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(ask())
