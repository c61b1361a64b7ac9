"""Reading the journal backwards: what happened last to a pool or a reservation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import case, select, tuple_

from flashstock.ledger.reads import Reads
from flashstock.ledger.tables import journal
from flashstock.model.ids import FIELD_SEPARATOR

PAGE: Final = 500
ENTRIES_READ_MAX: Final = 5_000
"""How far back a look-up goes. The journal has no index by pool: it would cost every hold."""


class Subject(NamedTuple):
    """Whose history is wanted: a pool's, or (with a digest) that of one of its reservations."""

    pool: str
    digest: str = ""
    deadline_ms: int = 0
    """That of a hold which gets back the time of an outage, where the deadline is in question."""

    def was_put_off(self, kind: str, at_ms: int) -> bool:
        """Whether that event of its pool moved its deadline, which nothing has moved since.

        What an outage interrupted ends after it, and what was over before it began does not.
        """
        return kind == "postponed" and self.deadline_ms > at_ms


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One log entry that was applied, or went to quarantine."""

    generation: int
    seq: int
    kind: str
    at_ms: int


class JournalQueries(Reads):
    """Part of ``Queries``."""

    async def latest_entries(
        self, shard: int, subjects: Collection[Subject]
    ) -> dict[Subject, JournalEntry]:
        """The last entry that names each subject, where it is among the latest of the shard.

        Where its deadline is in question, also one that gave its pool the time of an outage back.
        """
        wanted = set(subjects)
        pools = {subject.pool for subject in wanted}
        found: dict[Subject, JournalEntry] = {}
        position = (journal.c.generation, journal.c.seq)
        payload = case((journal.c.pool.in_(pools), journal.c.payload), else_="")
        statement = (
            select(*position, journal.c.kind, journal.c.pool, journal.c.at_ms, payload)
            .where(journal.c.shard == shard)
            .order_by(journal.c.generation.desc(), journal.c.seq.desc())
            .limit(PAGE)
        )
        page = statement
        for _ in range(ENTRIES_READ_MAX // PAGE):
            rows = await self._all(page) if wanted else []
            for generation, seq, kind, pool, at_ms, text in rows:
                if pool not in pools:
                    continue
                entry = JournalEntry(generation, seq, kind, at_ms)
                fields = {"", *text.split(FIELD_SEPARATOR)}
                for subject in [s for s in wanted if s.pool == pool]:
                    if subject.digest in fields or subject.was_put_off(kind, at_ms):
                        found[subject] = entry
                        wanted.remove(subject)
            if len(rows) < PAGE or not wanted:
                break
            page = statement.where(tuple_(*position) < tuple_(rows[-1][0], rows[-1][1]))
        return found
