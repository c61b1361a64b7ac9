"""What a batch of log entries asks of SQL, before SQL is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from flashstock.ledger.cursor import Cursor
from flashstock.ledger.failures import LogGap
from flashstock.model import events
from flashstock.model.ids import FIELD_SEPARATOR, POOL_ID_PATTERN
from flashstock.model.rules import TIME_MS_MAX

EVENTS_PER_ENTRY_MAX: Final = 1_000_000
"""A count beyond this comes from no script of ours, and must not carry the cursor away."""
_POOL_ID: Final = re.compile(POOL_ID_PATTERN)


class JournalRow(NamedTuple):
    """One decision, as it is kept for ever."""

    generation: int
    seq: int
    event_count: int
    kind: str
    pool: str
    at_ms: int
    payload: str


@dataclass(frozen=True, slots=True)
class Step:
    """One log entry, or the part of one that is above the cursor."""

    entry: events.LogEntry
    seq: int
    event: events.Event | None
    """``None`` where the entry can't be read."""
    problem: str = ""

    @property
    def pool(self) -> str:
        """The pool it speaks of; empty where even that can't be read."""
        if self.event is not None:
            return self.event.pool
        pool = self.entry.payload.partition(FIELD_SEPARATOR)[0]
        return pool if _POOL_ID.fullmatch(pool) else ""

    @property
    def payload(self) -> str:
        if self.event is None or self.event_count == self.entry.count:
            return storable(self.entry.payload)
        return storable(events.encode(self.event)[1])

    @property
    def event_count(self) -> int:
        if self.event is None:
            return self.entry.last_seq - self.seq + 1
        return events.events_in(self.event)

    def journal_row(self) -> JournalRow:
        return JournalRow(
            self.entry.generation,
            self.seq,
            self.event_count,
            storable(self.entry.kind),
            self.pool,
            0 if self.event is None else self.event.at_ms,
            self.payload,
        )


def steps_of(cursor: Cursor, entries: Iterable[events.LogEntry], generation: int) -> list[Step]:
    """The entries above the cursor, read; what is below it was applied before and is left out.

    Raises:
        LogGap: the first event above the cursor is missing, or is of another generation.
    """
    steps: list[Step] = []
    seq = cursor.seq
    for entry in entries:
        if not 0 < entry.count <= EVENTS_PER_ENTRY_MAX:
            raise LogGap(f"shard {cursor.shard}: seq {entry.seq} claims {entry.count} events")
        if entry.last_seq <= seq:
            continue
        if entry.seq > seq + 1:
            raise LogGap(f"shard {cursor.shard}: after seq {seq} comes {entry.seq}")
        if entry.shard != cursor.shard or entry.generation != generation:
            raise LogGap(
                f"shard {cursor.shard}, generation {generation}: seq {entry.seq} is of shard "
                f"{entry.shard}, generation {entry.generation}"
            )
        steps.append(_step(entry, seq + 1))
        seq = entry.last_seq
    return steps


def single_events(steps: Sequence[Step]) -> list[Step]:
    """The same steps, one event each: what a bisect divides."""
    singles: list[Step] = []
    for step in steps:
        if step.event is None:
            singles.append(step)
            continue
        parts = events.split(step.event)
        singles += (Step(step.entry, step.seq + i, part) for i, part in enumerate(parts))
    return singles


def storable(text: str) -> str:
    """The text itself, or an escaped form of what no database would take (NUL, lone surrogates)."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _step(entry: events.LogEntry, seq: int) -> Step:
    try:
        event = events.decode(entry)
        if not 0 <= event.at_ms <= TIME_MS_MAX or not _POOL_ID.fullmatch(event.pool):
            raise events.MalformedEntry(f"{entry.kind} at seq {entry.seq}: pool or time is wrong")
    except events.MalformedEntry as problem:
        return Step(entry, seq, None, str(problem))
    if seq > entry.seq:
        event = _rest(event, seq - entry.seq)
    return Step(entry, seq, event)


def _rest(event: events.Event, skipped: int) -> events.Event:
    """The event without its first ``skipped`` parts; only those of several parts have a rest."""
    match event:
        case events.Held():
            return replace(event, holds=event.holds[skipped:])
        case events.Released():
            return events.Released(event.pool, event.at_ms, event.state, event.releases[skipped:])
        case events.GroupsOpened():
            return replace(event, groups=event.groups[skipped:])
        case events.SeatsServed():
            return replace(event, seats=event.seats[skipped:])
        case events.SeatsRefunded():
            return replace(event, seats=event.seats[skipped:])
        case _:
            return event
