"""uvicorn's HTTP protocol with a short cut for the lean routes.

A task, an event, a scope and five messages per request are most of what an ASGI server costs, and
a reservation needs none of them. This subclass of uvicorn's httptools protocol hands the ordinary
case of a lean request (a whole body of known, small length on an idle connection that stays
open) to its handler by a plain call, and writes the answer in one piece. Everything else, however
slightly unusual, takes uvicorn's own way to the very same handlers through ASGI.

What it must keep of uvicorn's promises: answers in the order of the requests, a drain on shutdown,
the keep-alive timeout, and no reading on from a client that does not take its answers.
"""

from __future__ import annotations

from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from flashstock.api.lean import DECIDING_HEADERS, LENGTH_DIGITS_UNCHECKED, LeanAnswer
from flashstock.api.turnstile import Turnstile
from flashstock.supervisor.broken_http import OrderlyProtocol

_HEADS_MAX: Final = 1_000
_CLOSE: Final = (b"connection", b"close")
_UNUSUAL: Final = (b"expect", b"upgrade", b"transfer-encoding")


class _Heads:
    """The bytes in front of a content length, encoded once a second: uvicorn dates its answers."""

    def __init__(self) -> None:
        self._defaults: list[tuple[bytes, bytes]] | None = None
        self._cache: dict[tuple[int, tuple[tuple[bytes, bytes], ...]], bytes] = {}

    def get(
        self,
        status: int,
        headers: tuple[tuple[bytes, bytes], ...],
        defaults: list[tuple[bytes, bytes]],
    ) -> bytes:
        if defaults is not self._defaults or len(self._cache) >= _HEADS_MAX:
            self._defaults = defaults
            self._cache = {}
        head = self._cache.get((status, headers))
        if head is None:
            lines = [b"%s: %s\r\n" % pair for pair in (*defaults, *headers)]
            head = b"".join([STATUS_LINE[status], *lines, b"content-length: "])
            self._cache[status, headers] = head
        return head


_HEADS: Final = _Heads()


class _NoEvent:
    """Stands in for the event that wakes an ASGI task; a short cut has none."""

    def set(self) -> None:
        pass


class _Exchange:
    """The request of a connection that is on the short cut, seen by uvicorn as its current cycle.

    One object serves all such requests of a connection: there is one at a time.
    """

    __slots__ = ("body", "disconnected", "headers", "keep_alive", "path", "response_complete")

    message_event: Final = _NoEvent()

    def __init__(self) -> None:
        self.path = ""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.response_complete = True
        self.keep_alive = True
        self.disconnected = False


class ShortCutProtocol(OrderlyProtocol):
    """One connection. The application's ``turnstile`` knows which paths have a short cut."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        turnstile: Turnstile | None = getattr(self.config.app, "turnstile", None)
        self._turnstile = turnstile
        self._short_cuts: dict[bytes, str] = {
            path.encode(): path for path in (turnstile.handlers if turnstile else ())
        }
        self._exchange = _Exchange()
        self._receiving = False
        """Whether the message being parsed is on the short cut."""
        self._heard_at = 0.0

    def data_received(self, data: bytes) -> None:
        """Parse what came. The keep-alive timer runs on: it looks for itself whether it is time."""
        self._heard_at = self.loop.time()
        if self._is_broken:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        path = self._short_cuts.get(self.url)
        if path is not None and self._is_ordinary():
            exchange = self._exchange
            exchange.path = path
            exchange.response_complete = False
            self.cycle = exchange  # type: ignore[assignment]
            self._receiving = True
            return
        self._receiving = False
        url, headers, expecting = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expecting
        self.headers.extend(headers)
        super().on_headers_complete()

    def _is_ordinary(self) -> bool:
        """Whether nothing about this request needs uvicorn's care."""
        if self._is_busy() or self.flow.write_paused:
            return False
        headers = dict(self.headers)
        if len(headers) < len(self.headers) and any(
            sum(name == one for name, _ in self.headers) > 1 for one in DECIDING_HEADERS
        ):
            return False
        self._exchange.headers = headers
        self._exchange.body = b""
        parser = self.parser
        length = headers.get(b"content-length", b"")
        return (
            0 < len(length) < LENGTH_DIGITS_UNCHECKED
            and not any(name in headers for name in _UNUSUAL)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and bool(parser.should_keep_alive())
        )

    def on_body(self, body: bytes) -> None:
        if self._receiving:
            self._exchange.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._receiving:
            super().on_message_complete()
            return
        self._receiving = False
        exchange = self._exchange
        assert self._turnstile is not None
        self._turnstile.enter(exchange.path, exchange.headers, exchange.body, self._respond)

    def _respond(self, answer: LeanAnswer) -> None:
        exchange = self._exchange
        exchange.response_complete = True
        transport = self.transport
        if transport.is_closing():
            return
        status, headers, body, _ = answer
        state = self.server_state
        if not exchange.keep_alive:
            headers = (*headers, _CLOSE)
        head = _HEADS.get(status, headers, state.default_headers)
        transport.write(b"%s%d\r\n\r\n%s" % (head, len(body), body))
        if exchange.keep_alive and self.pipeline:
            self.on_response_complete()  # which counts it too
            return
        state.total_requests += 1
        if not exchange.keep_alive:
            transport.close()
        elif self._is_broken:
            self._refuse()
        elif self.timeout_keep_alive_task is None:
            self._arm(self.timeout_keep_alive)

    def _arm(self, delay_s: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            delay_s, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for the keep-alive time; else look again."""
        self.timeout_keep_alive_task = None
        if self.transport.is_closing():
            return
        idle_s = self.loop.time() - self._heard_at
        is_busy = self._is_busy()
        if is_busy or idle_s < self.timeout_keep_alive:
            self._arm(self.timeout_keep_alive if is_busy else self.timeout_keep_alive - idle_s)
        else:
            self.transport.close()
