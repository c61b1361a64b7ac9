"""The network between the processes and the simulated Redis: every packet is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.redis_server import Connection, RedisServer
from tests.simulation.weather import Weather

TIMEOUT_S: Final = 1.0
Command = Sequence[Any]
Trace = Callable[..., None]
Bound = tuple[RedisServer, Connection]


class RedisNetwork:
    """Who reaches which server, and how well.

    ``routes`` sends a process to another server than the primary: an old primary that does not
    know yet that it is one no more.
    """

    def __init__(self, loop: SimulatedLoop, random: Random, weather: Weather, trace: Trace) -> None:
        self.loop = loop
        self.random = random
        self.weather = weather
        self.trace = trace
        self.primary: RedisServer | None = None
        self.routes: dict[str, RedisServer] = {}
        self.tickets = count()

    def server(self, process: Process) -> RedisServer:
        """The server a process is connected to."""
        server = self.routes.get(process.name, self.primary)
        assert server is not None
        return server

    def connection(self, process: Process) -> Bound:
        """The server a process is connected to, and the connection that is open now."""
        server = self.server(process)
        return server, server.connection

    async def ask(
        self,
        process: Process,
        commands: Sequence[Command],
        *,
        bound: Bound | None = None,
        block_s: float | None = None,
    ) -> list[Any]:
        """Send commands in one packet and wait for the replies; a refusal is a reply, too.

        Args:
            bound: the server and the connection it must be; else whichever is open.
            block_s: how long a read without result may wait on the server.
        """
        server, connection = bound or self.connection(process)
        answer: asyncio.Future[list[Any]] = self.loop.create_future()
        request = _Request(self, process, server, connection, commands, answer, block_s)
        request.send()
        try:
            async with asyncio.timeout(TIMEOUT_S + (block_s or 0.0)):
                return await answer
        except TimeoutError:
            raise RedisTimeoutError("Timeout reading from the simulated server") from None


class _Request:
    """One packet on its way there and back."""

    def __init__(
        self,
        network: RedisNetwork,
        process: Process,
        server: RedisServer,
        connection: Connection,
        commands: Sequence[Command],
        answer: asyncio.Future[list[Any]],
        block_s: float | None,
    ) -> None:
        self._network = network
        self._process = process
        self._server = server
        self._connection = connection
        self._commands = list(commands)
        self._answer = answer
        self._block_s = block_s
        self._replies: list[Any] = []
        self._ticket = next(network.tickets)
        random, weather = network.random, network.weather
        self._lost_before = random.random() < weather.lost_before
        self._lost_after = random.random() < weather.lost_after
        self._late = random.random() < weather.late
        self._torn = random.random() < weather.torn

    def send(self) -> None:
        network = self._network
        if not self._server.up or not self._connection.open:
            network.loop.naturally(0.0002, self._fail)
            return
        self._connection.on_close[self._ticket] = self._fail
        delay = network.weather.delay(network.random)
        if self._late:
            delay += TIMEOUT_S * 2 * network.random.random()
        network.loop.naturally(delay, self._arrive)

    def _arrive(self) -> None:
        if not self._connection.open:
            return
        if self._lost_before:
            if self._network.random.random() < 0.5:
                self._end()  # reset: the sender learns of it; else it waits
            return
        if self._torn and len(self._commands) > 1:
            middle = 1 + int(self._network.random.random() * (len(self._commands) - 1))
            first, self._commands = self._commands[:middle], self._commands[middle:]
            self._execute(first)
            self._torn = False
            if self._network.random.random() < 0.3:
                self._end()
                return
            self._network.loop.naturally(
                self._network.weather.delay(self._network.random), self._arrive
            )
            return
        self._execute(self._commands)
        if self._block_s and not any(self._replies):
            self._wait()
            return
        self._reply()

    def _execute(self, commands: Sequence[Command]) -> None:
        for command in commands:
            try:
                reply: Any = self._server.execute(command)
            except RedisError as refusal:
                reply = refusal
            self._network.trace(self._process.name, command[0], command[-1], reply)
            self._replies.append(reply)

    def _wait(self) -> None:
        """A blocking read: tried again at the next write, answered empty when its time is up."""
        assert self._block_s is not None
        deadline = self._network.loop.time() + self._block_s

        def give_up() -> None:
            if self._server.on_write.pop(self._ticket, None) is not None:
                self._reply()

        def again() -> None:
            self._replies.clear()
            self._execute(self._commands)
            if any(self._replies):
                self._reply()
            else:
                self._server.on_write[self._ticket] = again

        self._server.on_write[self._ticket] = again
        self._network.loop.naturally(deadline - self._network.loop.time(), give_up)

    def _reply(self) -> None:
        if self._lost_after:
            if self._network.random.random() < 0.5:
                self._end()
            return
        delay = self._network.weather.delay(self._network.random)
        self._network.loop.naturally(delay, self._settle)

    def _settle(self) -> None:
        self._connection.on_close.pop(self._ticket, None)
        if not self._answer.done():
            self._answer.set_result(self._replies)

    def _end(self) -> None:
        self._connection.on_close.pop(self._ticket, None)
        self._fail()

    def _fail(self) -> None:
        if not self._answer.done():
            self._answer.set_exception(RedisConnectionError("Connection closed by server."))
