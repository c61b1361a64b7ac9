"""Giving holds back the time in which nobody could pay them.

An outage lasts from the moment at which SQL last knew the shard to work until it is recovered, by
the clock of the shard's server, which deadlines go by: where that jumped meanwhile, it took as
much from every hold. What is given back is one event for each pool, in the journal like all others
and in SQL with them, all or none. Redis then stands behind SQL, and is rebuilt.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from flashstock.errors import Recovering
from flashstock.ledger.apply import Cursor, CursorMoved
from flashstock.model.events import LogEntry, Postponed, encode

logger = logging.getLogger(__name__)

OUTAGE_MIN_MS: Final = 10_000
"""Shorter ones are not told from a quiet shard: its writer looks every few seconds."""
HOLDS_BACK_IN_MS: Final = 25
"""As many holds are put off in SQL and written to Redis in a millisecond, about. An outage that is
over sooner would only be made longer."""
_NO_SERVER_COUNTS_AS_FAR: Final = 2**63
"""The second half of a stream id that no log has: an event that no server decided must not be
taken for one that did."""


class OutageLedger(Protocol):
    """What is needed of SQL."""

    async def alive_at_ms(self, shard: int) -> int: ...

    async def interrupted_holds(self, shard: int, began_ms: int) -> dict[str, int]: ...

    async def postpone(self, cursor: Cursor, entries: Sequence[LogEntry]) -> Cursor: ...


async def give_back_outage(ledger: OutageLedger, cursor: Cursor, now_ms: int) -> Cursor:
    """Put off the deadlines that were still to come when the outage began, by as long as it was.

    To be called under the generation of the recovery, when all that the log held is in SQL. What
    is given back counts as a sign of life: whoever has to begin this recovery again gives back only
    what has been lost since.

    Args:
        now_ms: by the clock of the shard's server, and not before any decision it knows of.

    Returns:
        The cursor, moved where something was given back.

    Raises:
        Recovering: another process has taken this recovery over. Unavailable: SQL is away.
    """
    shard = cursor.shard
    began_ms = await ledger.alive_at_ms(shard)
    outage_ms = now_ms - began_ms
    if not began_ms or outage_ms < OUTAGE_MIN_MS:
        return cursor
    holds = await ledger.interrupted_holds(shard, began_ms)
    count = sum(holds.values())
    if not holds or outage_ms < OUTAGE_MIN_MS + count // HOLDS_BACK_IN_MS:
        return cursor
    stream_id = f"{now_ms}-{_NO_SERVER_COUNTS_AS_FAR + cursor.generation}"
    entries = []
    for seq, (pool, held) in enumerate(holds.items(), cursor.seq + 1):
        kind, payload = encode(Postponed(pool, now_ms, began_ms, held))
        entries.append(LogEntry(shard, cursor.generation, seq, 1, kind, payload, stream_id))
    try:
        cursor = await ledger.postpone(cursor, entries)
    except CursorMoved as moved:
        raise Recovering("another process has taken this recovery over") from moved
    logger.warning(
        "shard %d: %d holds in %d pools get back the %.1f s of an outage",
        shard,
        count,
        len(holds),
        outage_ms / 1000,
    )
    return cursor
