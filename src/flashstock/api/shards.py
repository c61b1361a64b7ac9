"""Where each shard stands: in Redis, in SQL, and whether this process lets calls through; and which
outage its holds last got back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from flashstock.api.bodies import format_time
from flashstock.errors import Unavailable
from flashstock.ledger.stored import GivenBack


class Cursor(Protocol):
    """How far SQL is in one shard."""

    @property
    def shard(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def opened_generation(self) -> int: ...


class CursorTable(Protocol):
    """What is needed of SQL."""

    async def cursors(self) -> Sequence[Cursor]: ...


class OutageTable(Protocol):
    """What is needed of SQL to tell of outages."""

    async def last_given_back(self, shard: int, generation: int) -> GivenBack | None: ...


class Outages:
    """What the holds of each shard last got back, read once for each generation.

    Once a generation is open nothing is given back under it any more.
    """

    def __init__(self, table: OutageTable) -> None:
        self._table = table
        self._known: dict[int, tuple[int, GivenBack | None]] = {}

    async def last(self, shard: int, opened_generation: int) -> GivenBack | None:
        """Up to the generation that was last opened. Raises ``Unavailable``: no SQL."""
        known = self._known.get(shard)
        if known is None or known[0] != opened_generation:
            outage = await self._table.last_given_back(shard, opened_generation)
            known = self._known[shard] = opened_generation, outage
        return known[1]


class ShardStore(Protocol):
    """What is needed of the reservation store."""

    shard_count: int

    def generation(self, shard: int) -> str | None: ...

    async def seq(self, shard: int) -> int: ...


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """``seq`` and ``lag_events`` are ``None`` while Redis does not answer for the shard, ``outage``
    where none was given back lately."""

    shard: int
    state: str
    generation: int
    outage: GivenBack | None
    seq: int | None
    applied_seq: int
    lag_events: int | None

    def document(self) -> dict[str, Any]:
        """As it stands in ``GET /v1/ops/shards``."""
        outage = None if self.outage is None else _outage_body(self.outage)
        return {**asdict(self), "outage": outage}


def _outage_body(outage: GivenBack) -> dict[str, Any]:
    return {
        "began_at": format_time(outage.began_ms),
        "ended_at": format_time(outage.ended_ms),
        "given_back_seconds": outage.by_ms / 1_000,
        "holds": outage.holds,
    }


async def shard_statuses(
    store: ShardStore, table: CursorTable, outages: Outages
) -> list[ShardStatus]:
    """Every shard, also those that SQL has not heard of yet. Raises ``Unavailable``: no SQL."""
    cursors = {cursor.shard: cursor for cursor in await table.cursors()}
    statuses = []
    for shard in range(store.shard_count):
        cursor = cursors.get(shard)
        generation, applied = (cursor.generation, cursor.seq) if cursor else (0, 0)
        seq = await _seq(store, shard, str(generation))
        state = "recovering" if seq is None else "open"
        lag = None if seq is None else max(0, seq - applied)
        outage = await outages.last(shard, cursor.opened_generation) if cursor else None
        statuses.append(ShardStatus(shard, state, generation, outage, seq, applied, lag))
    return statuses


async def _seq(store: ShardStore, shard: int, generation: str) -> int | None:
    """The last number of the log; ``None`` where it is of another generation or out of reach."""
    if store.generation(shard) != generation:
        return None
    try:
        return await store.seq(shard)
    except Unavailable:
        return None
