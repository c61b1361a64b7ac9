"""Fairness between those who ask and the work that answers them.

A handler that answers at once answers from within the event loop's look at its sockets, and the
client it answered may be heard again in the same look: with more connections than one look takes,
the loop would hear and refuse for ever and never get round to Redis. So requests wait here for
their turn: each turn of the loop lets in some, and turns away a few of those who came last where
too many wait. Those who came first are served, however large the crowd.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from flashstock.api.lean import LeanHandler, Respond

ADMITTED_PER_TURN: Final = 256
"""About ten milliseconds of work."""
REFUSED_PER_TURN: Final = 32
"""Saying no must not take the time of saying yes; the rest wait on."""

Refuse = Callable[[str, Respond], None]
"""Answers a request of a route with ``Overloaded``."""


class Turnstile:
    """Where the requests of one process wait that take a short cut.

    Args:
        handlers: by the path of the ``POST``.
        refuse: turns a request away.
        waiting_max: requests that may wait; those beyond are refused, the last to come first.
    """

    def __init__(
        self, handlers: Mapping[str, LeanHandler], refuse: Refuse, waiting_max: int
    ) -> None:
        self.handlers = handlers
        self._refuse = refuse
        self._waiting_max = waiting_max
        self._waiting: deque[tuple[str, Mapping[bytes, bytes], bytes, Respond]] = deque()
        self._turning = False

    def enter(
        self, path: str, headers: Mapping[bytes, bytes], body: bytes, respond: Respond
    ) -> None:
        """Queue one request of a path that has a handler."""
        self._waiting.append((path, headers, body, respond))
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        waiting = self._waiting
        try:
            for _ in range(min(len(waiting), ADMITTED_PER_TURN)):
                path, headers, body, respond = waiting.popleft()
                self.handlers[path](headers, body, respond)
            for _ in range(min(len(waiting) - self._waiting_max, REFUSED_PER_TURN)):
                path, _, _, respond = waiting.pop()
                self._refuse(path, respond)
        finally:  # whatever one request broke, the others have their turn
            if waiting:
                asyncio.get_running_loop().call_soon(self._turn)
            else:
                self._turning = False
