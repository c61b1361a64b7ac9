"""Pools: create, look at, adjust, pause, resume, close."""

from __future__ import annotations

from dataclasses import replace

from flashstock.errors import (
    Ended,
    IdempotencyMismatch,
    InsufficientStock,
    InvalidRequest,
    NotRecorded,
    PoolExists,
)
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.replies import PoolSnapshot
from flashstock.hotpath.scripts import AdjustStatus, ConfigureStatus
from flashstock.hotpath.store import HotStore
from flashstock.model.events import encode_rules
from flashstock.model.ids import digest_of
from flashstock.model.rules import POOL_QUANTITY_MAX, PoolRules
from flashstock.model.states import PoolState
from flashstock.service.views import PoolView


class PoolService:
    """Every change is acknowledged once it is committed in SQL."""

    def __init__(self, store: HotStore, applied: AppliedTracker) -> None:
        self._store = store
        self._applied = applied

    async def create(self, pool: str, rules: PoolRules, quantity: int) -> tuple[PoolView, bool]:
        """Create a pool; the units of its waves start locked. Returns (pool, was it new).

        Repeating the call with the same settings returns the pool as it is now.

        Raises:
            PoolExists: the id is taken by a pool with other settings.
            InvalidRequest: the waves hold more units than the pool.
        """
        locked = sum(wave.quantity for wave in rules.waves)
        if locked > quantity:
            raise InvalidRequest(f"the waves release {locked} units, the pool has {quantity}")
        status, snapshot = await self._store.configure(
            pool, encode_rules(rules), created=(quantity, locked)
        )
        if status is not ConfigureStatus.CONFIGURED and not _same_rules(snapshot.rules, rules):
            raise PoolExists(f"pool {pool!r} exists with other settings", pool=pool)
        await self._committed(snapshot)
        return _view(snapshot), status is ConfigureStatus.CONFIGURED

    async def get(self, pool: str) -> PoolView:
        """The pool as Redis has it this instant. Raises ``UnknownPool``."""
        return _view(await self._store.snapshot(pool))

    async def adjust(
        self, caller: str, idempotency_key: str, pool: str, total_delta: int, locked_delta: int
    ) -> tuple[PoolView, bool]:
        """Add or take back units, lock or unlock some. Returns (pool, was it a replay).

        Raises:
            InsufficientStock: buyers hold what should be taken; nothing changed.
            IdempotencyMismatch: the key was used for another adjustment.
        """
        command = digest_of("adjust", caller, idempotency_key)
        status, generation, seq, available = await self._store.adjust(
            pool, total_delta, locked_delta, command
        )
        if status is AdjustStatus.INSUFFICIENT:
            detail = f"only {available} units of {pool!r} are available; holds are never taken"
            raise InsufficientStock(detail, pool=pool, available=available)
        if status is AdjustStatus.MISMATCH:
            raise IdempotencyMismatch("this Idempotency-Key made another adjustment")
        if status is AdjustStatus.TOO_LARGE:
            raise InvalidRequest(f"a pool holds at most {POOL_QUANTITY_MAX} units")
        shard = self._store.shard_of(pool)
        await self._applied.recorded(shard, generation, seq, command)
        if status is AdjustStatus.REPLAYED and self._applied.is_suspect(shard, command):
            raise NotRecorded(pool=pool)
        return await self.get(pool), status is AdjustStatus.REPLAYED

    async def set_state(self, pool: str, state: PoolState) -> PoolView:
        """Pause, resume or close. Repeating it changes nothing.

        Raises:
            Ended: the pool is closed, and closed pools stay closed.
        """
        status, snapshot = await self._store.configure(pool, {"state": state.value}, created=None)
        if status is ConfigureStatus.CLOSED and state is not PoolState.CLOSED:
            raise Ended(f"pool {pool!r} is closed for good", pool=pool)
        await self._committed(snapshot)
        return _view(snapshot)

    async def _committed(self, snapshot: PoolSnapshot) -> None:
        shard = self._store.shard_of(snapshot.pool)
        await self._applied.recorded(shard, snapshot.generation, snapshot.seq, snapshot.pool)


def _same_rules(stored: PoolRules, asked: PoolRules) -> bool:
    """Waves that were released and a pause since then don't make it another pool."""
    return replace(stored, state=asked.state, waves=asked.waves) == asked


def _view(snapshot: PoolSnapshot) -> PoolView:
    return PoolView(snapshot.pool, snapshot.rules, snapshot.counters, snapshot.now_ms)
