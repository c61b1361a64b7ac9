"""Who asks for units, and how the answer reaches them."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from flashstock.hotpath.replies import BatchReply


class Verdicted(NamedTuple):
    """The answer to one request: its verdict, and the batch it was decided in."""

    verdict: int
    batch: BatchReply
    replay: bytes | None
    """The packed record, where the verdict is REPLAYED."""


class Asking(Protocol):
    """One request in a lane. Exactly one of the two methods is called, once; neither may raise.

    Plain calls, no futures: a future would wake a task, and a task costs as much as all the rest
    that a lane does for a request.
    """

    @property
    def digest(self) -> str: ...
    @property
    def buyer(self) -> str: ...
    @property
    def quantity(self) -> int: ...
    @property
    def attests(self) -> str:
        """What the caller attests (``Attests.packed``); empty where it is nothing."""
        ...

    def decided(self, verdict: int, batch: BatchReply, replay: bytes | None) -> None:
        """The verdict, the batch it came in, and the packed record where it is REPLAYED."""

    def failed(self, failure: Exception) -> None:
        """Nobody knows what was decided; the same key finds out."""


Outcome = tuple[Asking, int, bytes | None]
"""Who asked, the verdict, and the packed record where it is REPLAYED."""


class AskingForFuture:
    """An ``Asking`` that resolves a future, for who would rather wait."""

    __slots__ = ("attests", "buyer", "digest", "future", "quantity")

    def __init__(self, digest: str, buyer: str, quantity: int, attests: str = "") -> None:
        self.digest = digest
        self.buyer = buyer
        self.quantity = quantity
        self.attests = attests
        self.future: asyncio.Future[Verdicted] = asyncio.get_running_loop().create_future()

    def decided(self, verdict: int, batch: BatchReply, replay: bytes | None) -> None:
        if not self.future.done():
            self.future.set_result(Verdicted(verdict, batch, replay))

    def failed(self, failure: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(failure)
