"""One API process on the listening socket it was handed."""

from __future__ import annotations

import asyncio
import copy
import logging
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn
import uvloop
from uvicorn.lifespan.on import LifespanOn

from flashstock.config import Settings
from flashstock.errors import FlashstockError
from flashstock.supervisor.memory import settle_memory
from flashstock.supervisor.short_cut import ShortCutProtocol
from flashstock.supervisor.sockets import BACKLOG

if TYPE_CHECKING:
    from uvicorn._types import (
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        Scope,
    )

DRAIN_SECONDS: Final = 8
"""Less than the supervisor's patience, so that a worker still closes its stores by itself."""
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the proxies in front of us keep a connection, so that they close it, not we."""
START_FAILED_STATUS: Final = 3

_log = logging.getLogger("flashstock.api_worker")


def run_api_worker(settings: Settings, descriptor: int) -> None:
    """Serve until SIGTERM, then answer what was accepted.

    Args:
        descriptor: of the socket that the supervisor bound and listens on.

    Raises:
        FlashstockError: the application could not start, for this reason.
    """
    # Until the server has its own handlers, and again once it has drained.
    signal.signal(signal.SIGTERM, _leave)
    listener = socket.socket(fileno=descriptor)
    from flashstock.bootstrap import create_app

    app = create_app(settings)
    if settings.http_server == "granian":
        run_granian(app, listener)
    else:
        run_uvicorn(app, listener)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signal's signature)
    sys.exit(0)


class _Lifespan(LifespanOn):
    """Keeps the reason of a failed start, which uvicorn only logs, as text."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(copy.copy(config))
        self._app: Any = config.loaded_app
        self.config.loaded_app = self._call
        self.failure: FlashstockError | None = None

    async def _call(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        async def send_without_traceback(message: ASGISendEvent) -> None:
            if message["type"] == "lifespan.startup.failed":
                message["message"] = ""
            await send(message)

        try:
            await self._app(scope, receive, send_without_traceback)
        except FlashstockError as problem:
            self.failure = problem
            raise
        except Exception:
            _log.exception("the application did not start, or did not stop, as it should")
            raise


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        settle_memory()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A page that is watched live is an answer without an end: nobody must wait for it.
        if (drain := getattr(self.config.app, "drain", None)) is not None:
            drain()
        await super().shutdown(sockets=sockets)


def run_uvicorn(app: Any, listener: socket.socket) -> None:
    """Serve on a listening socket with uvicorn until SIGTERM; the benchmarks start theirs so too.

    Raises:
        FlashstockError: the application could not start, for this reason.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=ShortCutProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    config.load()
    config.lifespan_class = _Lifespan
    server = _Server(config)
    try:
        server.run(sockets=[listener])
    except SystemExit:
        lifespan = server.lifespan
        if isinstance(lifespan, _Lifespan) and lifespan.failure is not None:
            raise lifespan.failure from None
        raise


def run_granian(app: Any, listener: socket.socket) -> None:
    """The same with granian; exits with ``START_FAILED_STATUS`` if the application can't start."""
    from granian._granian import SocketHolder
    from granian.constants import Interfaces
    from granian.server.embed import Server

    # Granian's stubs leave out that a holder can be made from a descriptor, as its own pickling
    # does.
    held: Any = SocketHolder(listener.fileno(), False, BACKLOG)  # type: ignore[call-arg]

    class OnHandedSocket(Server):
        """Granian binds a socket of its own; here it takes the one all workers share."""

        def _init_shared_socket(self) -> None:
            self._shd = held

    async def serve() -> bool:
        server = OnHandedSocket(
            app, interface=Interfaces.ASGI, websockets=False, backlog=BACKLOG, log_enabled=False
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
        asyncio.get_running_loop().call_later(1, settle_memory)
        await server.serve()
        return bool(server.interrupt_signal)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if not runner.run(serve()):
            _log.error("the application did not start, or its server ended unasked")
            sys.exit(START_FAILED_STATUS)
