"""What a run of events adds to the statistics. Pure: the same events always add the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from flashstock.model import events
from flashstock.model.fold import fold
from flashstock.model.states import ReservationState
from flashstock.statistics.lives import bucket_of

MINUTE_MS: Final = 60_000

Minute = tuple[str, int]
"""A pool, and the first millisecond of a minute."""


class End(NamedTuple):
    """A hold ended: paid, given back, run out or revoked."""

    pool: str
    reservation_id: str
    at_ms: int


@dataclass(slots=True)
class Tally:
    """Counts by pool and minute (keys as in ``tables.COUNTS``), and the holds that ended."""

    minutes: dict[Minute, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    ends: list[End] = field(default_factory=list)

    def add(self, entry: events.LogEntry, event: events.Event) -> None:
        """Count one event."""
        counts = self.minutes[event.pool, minute_of(event.at_ms)]
        change = fold([(entry, event)]).pools[event.pool]
        counts["total_delta"] += change.total
        counts["held_delta"] += change.held
        counts["sold_delta"] += change.sold
        counts["locked_delta"] += change.locked
        match event:
            case events.Held():
                counts["held_count"] += len(event.holds)
                counts["held_units"] += sum(hold.quantity for hold in event.holds)
            case events.Released():
                self._released(counts, event)
            case events.Withdrawn():
                counts[f"{event.state.value}_count"] += 1
                counts[f"{event.state.value}_units"] += event.quantity
            case events.Confirmed() | events.SeatPaid():
                self._paid(counts, event)
            case events.Returned():
                counts["returned_units"] += event.quantity
            case events.RefundDue():
                counts["refund_due_count"] += 1
                counts["refund_due_units"] += event.quantity
            case _:
                _count_groups(counts, event)

    def add_lives(self, lives: Iterable[tuple[End, int]]) -> Counter[tuple[str, int, int]]:
        """Count how long these holds had lasted when they ended, in ms.

        Returns:
            (pool, minute, bucket) → holds.
        """
        buckets: Counter[tuple[str, int, int]] = Counter()
        for end, life_ms in lives:
            minute = minute_of(end.at_ms)
            counts = self.minutes[end.pool, minute]
            counts["lives_count"] += 1
            counts["lives_ms"] += life_ms
            buckets[end.pool, minute, bucket_of(life_ms)] += 1
        return buckets

    def _released(self, counts: Counter[str], event: events.Released) -> None:
        name = event.state.value
        counts[f"{name}_count"] += len(event.releases)
        counts[f"{name}_units"] += sum(release.quantity for release in event.releases)
        self.ends += (
            End(event.pool, f"{event.pool}~{release.digest}", event.at_ms)
            for release in event.releases
        )

    def _paid(self, counts: Counter[str], event: events.Confirmed | events.SeatPaid) -> None:
        counts["paid_count"] += 1
        counts["paid_units"] += event.quantity
        if event.before is ReservationState.HELD:
            self.ends.append(End(event.pool, f"{event.pool}~{event.digest}", event.at_ms))
        elif event.before is ReservationState.EXPIRED:
            counts["paid_late_count"] += 1


def _count_groups(counts: Counter[str], event: events.Event) -> None:
    match event:
        case events.GroupsOpened():
            counts["groups_opened"] += len(event.groups)
        case events.GroupFormed():
            counts["groups_formed"] += 1
        case events.GroupFailed():
            counts["groups_failed"] += 1
        case events.SeatsRefunded():
            counts["refunded_count"] += len(event.seats)
            counts["refunded_units"] += sum(seat.quantity for seat in event.seats)


def minute_of(at_ms: int) -> int:
    """The first millisecond of the minute."""
    return at_ms - at_ms % MINUTE_MS
