"""Where each shard stands: in Redis, in SQL, and whether this process lets calls through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from flashstock.errors import Unavailable


class Cursor(Protocol):
    """How far SQL is in one shard."""

    @property
    def shard(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def seq(self) -> int: ...


class CursorTable(Protocol):
    """What is needed of SQL."""

    async def cursors(self) -> Sequence[Cursor]: ...


class ShardStore(Protocol):
    """What is needed of the reservation store."""

    shard_count: int

    def generation(self, shard: int) -> str | None: ...

    async def seq(self, shard: int) -> int: ...


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """``seq`` and ``lag_events`` are ``None`` while Redis does not answer for the shard."""

    shard: int
    state: str
    generation: int
    seq: int | None
    applied_seq: int
    lag_events: int | None

    def document(self) -> dict[str, Any]:
        """As it stands in ``GET /v1/ops/shards``."""
        return asdict(self)


async def shard_statuses(store: ShardStore, table: CursorTable) -> list[ShardStatus]:
    """Every shard, also those that SQL has not heard of yet. Raises ``Unavailable``: no SQL."""
    cursors = {cursor.shard: cursor for cursor in await table.cursors()}
    statuses = []
    for shard in range(store.shard_count):
        cursor = cursors.get(shard)
        generation, applied = (cursor.generation, cursor.seq) if cursor else (0, 0)
        seq = await _seq(store, shard, str(generation))
        state = "recovering" if seq is None else "open"
        lag = None if seq is None else max(0, seq - applied)
        statuses.append(ShardStatus(shard, state, generation, seq, applied, lag))
    return statuses


async def _seq(store: ShardStore, shard: int, generation: str) -> int | None:
    """The last number of the log; ``None`` where it is of another generation or out of reach."""
    if store.generation(shard) != generation:
        return None
    try:
        return await store.seq(shard)
    except Unavailable:
        return None
