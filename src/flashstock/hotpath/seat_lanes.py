"""Lanes of seats: as those of reservations, but each request says what group it is for."""

from __future__ import annotations

from typing import Protocol, cast

from flashstock.hotpath.asking import Asking, Outcome
from flashstock.hotpath.group_calls import GroupCalls
from flashstock.hotpath.lanes import REPLAYED, Lane
from flashstock.hotpath.replies import BatchReply


class SeatAsking(Asking, Protocol):
    """Whoever asks for a seat. HELD comes with the packed record, too: it names the group."""

    @property
    def wants(self) -> str:
        """As ``GroupCalls.take_seats`` takes it."""
        ...


class SeatLane(Lane):
    """The micro-batcher of the seats of one pool in this process."""

    __slots__ = ()

    async def _call(self, digests: list[str], batch: list[Asking]) -> BatchReply:
        quantities = [asking.quantity for asking in batch]
        attests = [asking.attests for asking in batch]
        return await cast("GroupCalls", self._store).take_seats(
            self._pool,
            sum(quantities),
            digests,
            [asking.buyer for asking in batch],
            [str(quantity) for quantity in quantities],
            [cast("SeatAsking", asking).wants for asking in batch],
            attests if any(attests) else None,
        )

    def _outcomes(self, batch: list[Asking], reply: BatchReply) -> list[Outcome]:
        records = iter(reply.replays)
        return [
            (asking, digit - 48, next(records) if digit - 48 <= REPLAYED else None)
            for asking, digit in zip(batch, reply.verdicts, strict=True)
        ]
