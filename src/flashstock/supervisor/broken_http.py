"""uvicorn's HTTP protocol, refusing what is not HTTP in its turn.

uvicorn writes that refusal at once: in front of the answer to a request that came before on the
same connection, which may have been granted and would look refused. Here it waits for the answers
still to come, and is a problem document like every other error.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from flashstock.api.problems import problem_response_parts
from flashstock.errors import MalformedRequest


class OrderlyProtocol(HttpToolsProtocol):
    """One connection. Nothing behind what could not be read is read either."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._is_broken = False
        """Whether something came that is not HTTP."""

    def data_received(self, data: bytes) -> None:
        if not self._is_broken:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (the problem says it)
        """Refuse what can't be read, as soon as everything before it is answered."""
        self._is_broken = True
        cycle: Any = self.cycle
        if self._is_busy() and getattr(cycle, "more_body", False):
            # The body of this very request is broken: nobody gets to see it, nor an answer to it.
            cycle.disconnected = True
            cycle.message_event.set()
            if not (self.pipeline and self.pipeline[0][0] is cycle):
                self._refuse()
                return
            self.pipeline.popleft()
        if not self._is_busy():
            self._refuse()

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        super().on_response_complete()
        if self._is_broken and is_last:
            self._refuse()

    def _is_busy(self) -> bool:
        current: Any = self.cycle
        return current is not None and not current.response_complete

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        status, headers, body = problem_response_parts(MalformedRequest())
        pairs = (*self.server_state.default_headers, *headers, (b"connection", b"close"))
        lines = [b"%s: %s\r\n" % pair for pair in pairs]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.close()
