"""What a caller is shown of a reservation or a pool."""

from __future__ import annotations

from dataclasses import dataclass

from flashstock.model.group_records import group_id
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
        """A hold past its deadline is shown as expired, whether or not anyone has swept it. So is
        a seat that is ordered: other orders can be paid until somebody cancels them.
        """
        record = self.record
        seat = record.state is ReservationState.ORDERED and bool(self.group)
        if record.deadline_ms <= self.now_ms and (record.state is ReservationState.HELD or seat):
            return ReservationState.EXPIRED
        return record.state

    @property
    def group(self) -> str:
        """The id of the group that it is a seat of; empty where it is none."""
        return group_id(self.record.pool, self.record.cart)


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool's rules and where its units are."""

    id: str
    rules: PoolRules
    counters: PoolCounters
    now_ms: int
