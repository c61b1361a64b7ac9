"""Which event stands behind a difference: the last one the journal has of its subject.

The deadline of a hold is also moved by an event that does not name it: its pool's, when a recovery
gave back the time of an outage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from flashstock.ledger.journal_queries import JournalEntry, Subject
from flashstock.ledger.queries import Queries
from flashstock.reconcile.compare import Difference


async def explained(
    queries: Queries, shard: int, differences: Sequence[Difference]
) -> list[Difference]:
    """The same differences with ``explained_by``; ``None`` where it lies too far back.

    Bounded: the latest entries of the shard are read once for all of them.
    """
    deadlines = await _deadlines_put_off(queries, differences)
    subjects = [_subject(difference, deadlines) for difference in differences]
    entries = await queries.latest_entries(shard, subjects) if subjects else {}
    return [
        replace(difference, explained_by=_document(entries.get(subject)))
        for difference, subject in zip(differences, subjects, strict=True)
    ]


def time_text(at_ms: int) -> str:
    """RFC 3339 with milliseconds."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _deadlines_put_off(queries: Queries, differences: Sequence[Difference]) -> dict[str, int]:
    """The deadlines that differ, by reservation, of those holds that outages put off."""
    ids = [difference.subject for difference in differences if difference.kind == "deadline"]
    return await queries.deadlines_of(ids) if ids else {}


def _subject(difference: Difference, deadlines: Mapping[str, int]) -> Subject:
    """A reservation's id names its digest; other subjects are the pool's own."""
    _, _, digest = difference.subject.partition("~")
    return Subject(difference.pool, digest, deadlines.get(difference.subject, 0))


def _document(entry: JournalEntry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {
        "generation": entry.generation,
        "seq": entry.seq,
        "kind": entry.kind,
        "at": time_text(entry.at_ms),
    }
