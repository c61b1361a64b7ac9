"""What a caller is shown of a reservation or a pool."""

from __future__ import annotations

from dataclasses import dataclass

from flashstock.model.records import ReservationRecord
from flashstock.model.rules import PoolCounters, PoolRules
from flashstock.model.states import ReservationState


@dataclass(frozen=True, slots=True)
class ReservationView:
    """One reservation as of ``now_ms`` (Redis clock; 0 where only SQL knows it still)."""

    id: str
    record: ReservationRecord
    now_ms: int
    order_no: str | None = None

    @property
    def state(self) -> ReservationState:
        """A hold past its deadline is shown as expired, whether or not anyone has swept it."""
        overdue = self.record.deadline_ms <= self.now_ms
        if self.record.state is ReservationState.HELD and overdue:
            return ReservationState.EXPIRED
        return self.record.state


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool's rules and where its units are."""

    id: str
    rules: PoolRules
    counters: PoolCounters
    now_ms: int
