"""The state of the reference and the steps its verbs share."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from flashstock.errors import UnknownPool
from flashstock.hotpath.replies import PoolSnapshot, ReservationReply
from flashstock.hotpath.scripts import Verdict
from flashstock.model import events
from flashstock.model.eligibility import Attests
from flashstock.model.ids import ReservationId
from flashstock.model.records import ReservationRecord
from flashstock.model.rules import NO_DEADLINE_MS
from flashstock.model.states import PoolState, ReservationState
from tests.reference.pools import Pool, digests_in, first_due

RECLAIM_BATCHES_MAX = 64


class ReferenceShard:
    """One shard: pools, records, what was paid, what was commanded, and the log."""

    def __init__(self, retention_ms: int) -> None:
        self.now_ms = 0
        self.seq = 0
        self.orders = 0
        self.pools: dict[str, Pool] = {}
        self.buyers: dict[str, dict[str, int]] = {}
        """Buyer → units, by where a limit is counted."""
        self.records: dict[str, ReservationRecord] = {}
        self.payments: dict[str, ReservationId] = {}
        self.commands: dict[str, tuple[object, ...]] = {}
        self.due: dict[str, int] = {}
        self.log: list[tuple[int, events.Event]] = []
        """Each event with its first number."""
        self._retention_ms = retention_ms

    def _pool(self, pool_id: str) -> Pool:
        if pool_id not in self.pools:
            raise UnknownPool(f"there is no pool {pool_id!r}", pool=pool_id)
        return self.pools[pool_id]

    def _find(self, target: ReservationId) -> ReservationRecord | None:
        """A digest alone may be another pool's."""
        record = self.records.get(target.digest)
        return record if record is not None and record.pool == target.pool else None

    def _append(self, event: events.Event) -> None:
        self.log.append((self.seq + 1, event))
        self.seq += events.events_in(event)

    def _wake(self, pool_id: str, at_ms: int) -> None:
        """Something happens in this pool by time alone, then or earlier."""
        self.due[pool_id] = min(self.due.get(pool_id, at_ms), at_ms)

    def _reply(self, status: IntEnum, record: ReservationRecord | None) -> ReservationReply:
        return ReservationReply("1", int(status), self.now_ms, self.seq, record)

    def _snapshot(self, pool_id: str) -> PoolSnapshot:
        pool = self.pools[pool_id]
        return PoolSnapshot("1", pool_id, self.now_ms, self.seq, pool.settings, pool.counters)

    def _verdict_of_known(self, digest: str, wanted: ReservationRecord) -> Verdict:
        """Of a request whose digest is taken: the same request again, or another one?"""
        known = self.records[digest]
        same = (known.pool, known.buyer, known.quantity, known.cart) == (
            wanted.pool,
            wanted.buyer,
            wanted.quantity,
            wanted.cart,
        )
        return Verdict.REPLAYED if same else Verdict.MISMATCH

    def _verdict(
        self,
        pool: Pool,
        digest: str,
        wanted: ReservationRecord,
        attests: Attests,
        also_wanted: int = 0,
    ) -> Verdict:
        """``also_wanted``: units that other lines of the cart want of the same limit."""
        if digest in self.records:
            return self._verdict_of_known(digest, wanted)
        rules = pool.settings
        taken = pool.buyers.get(wanted.buyer, 0) + also_wanted + wanted.quantity
        if rules.group_buy:
            return Verdict.GROUP_ONLY
        if rules.state is PoolState.CLOSED or 0 < rules.ends_at_ms <= self.now_ms:
            return Verdict.ENDED
        if rules.state is PoolState.PAUSED:
            return Verdict.PAUSED
        if self.now_ms < rules.starts_at_ms:
            return Verdict.NOT_STARTED
        if not pool.lets_in(attests):
            return Verdict.NOT_ELIGIBLE
        if rules.per_buyer_limit and taken > rules.per_buyer_limit:
            return Verdict.BUYER_LIMIT
        return Verdict.HELD if wanted.quantity <= pool.available else Verdict.SOLD_OUT

    def _wait(self, pool_id: str, digests: list[str], deadline_ms: int) -> None:
        """For a deadline that a batch shares; or each for an end of its own."""
        batches = digests if deadline_ms == NO_DEADLINE_MS else ["".join(digests)]
        self.pools[pool_id].deadlines |= dict.fromkeys(batches, deadline_ms)
        self._wake(pool_id, deadline_ms)

    def _at_end(self, target: ReservationId, record: ReservationRecord) -> ReservationRecord:
        """The record of what has just ended: where it had no deadline, this is it."""
        if record.deadline_ms != NO_DEADLINE_MS:
            return record
        pool = self.pools[target.pool]
        pool.deadlines.pop(target.digest, None)
        pool.retired[target.digest] = self.now_ms + self._retention_ms
        self._wake(target.pool, self.now_ms + self._retention_ms)
        return replace(record, deadline_ms=self.now_ms)

    def _hold(self, pool: Pool, digest: str, record: ReservationRecord) -> None:
        self.records[digest] = record
        if record.state is ReservationState.ORDERED:
            pool.grants += 1
            return
        pool.available -= record.quantity
        pool.held += record.quantity
        pool.grants += 1
        pool.take(record.buyer, record.quantity)

    def _settle(self, pool_id: str, pool: Pool, units_wanted: int) -> int:
        """Bring a pool to this instant before it sells; returns when its next wave is due."""
        next_wave_ms = self._release_waves(pool_id, pool)
        if pool.available < units_wanted and not pool.settings.group_buy:
            shortage = units_wanted - pool.available
            self._release_expired(pool_id, pool, RECLAIM_BATCHES_MAX, shortage)
        return next_wave_ms

    def _serve_late(self, pool_id: str, pool: Pool, record: ReservationRecord) -> bool:
        """Can a payment that came after expiry still be served?"""
        if pool.available < record.quantity:
            shortage = record.quantity - pool.available
            self._release_expired(pool_id, pool, RECLAIM_BATCHES_MAX, shortage)
        rules = pool.settings
        taken = pool.buyers.get(record.buyer, 0) + record.quantity
        within_limit = not rules.per_buyer_limit or taken <= rules.per_buyer_limit
        in_stock = pool.available >= record.quantity
        return in_stock and within_limit and rules.state is not PoolState.CLOSED

    def _sell(
        self, target: ReservationId, record: ReservationRecord, payment_ref: str
    ) -> ReservationRecord:
        """Its units are the buyer's already; now they are paid for."""
        pool = self.pools[target.pool]
        if record.state is ReservationState.HELD:
            pool.held -= record.quantity
        pool.sold += record.quantity
        self.orders += 1
        before = record.state
        record = self.records[target.digest] = replace(
            self._at_end(target, record),
            state=ReservationState.CONFIRMED,
            payment_ref=payment_ref,
            order_index=self.orders,
        )
        sale = (record.quantity, record.buyer, payment_ref, self.orders)
        self._append(events.Confirmed(target.pool, self.now_ms, target.digest, before, *sale))
        return record

    def _release_waves(self, pool_id: str, pool: Pool) -> int:
        due, waiting = pool.waves_due(self.now_ms)
        if due:
            units = min(sum(wave.quantity for wave in due), pool.locked)
            pool.available += units
            pool.locked -= units
            pool.rules["waves"] = events.encode_waves(tuple(waiting))
            self._append(events.WaveReleased(pool_id, self.now_ms, units, tuple(waiting)))
        return waiting[0].at_ms if waiting else 0

    def _release_expired(
        self, pool_id: str, pool: Pool, batch_max: int, units_wanted: float
    ) -> int:
        releases: list[events.Release] = []
        units = 0
        for _ in range(batch_max):
            batch = first_due(pool.deadlines, self.now_ms)
            if batch is None or units >= units_wanted:
                break
            for digest in digests_in(batch):
                record = self.records.get(digest)
                if record is None or record.state is not ReservationState.HELD:
                    continue
                if record.deadline_ms <= self.now_ms:
                    self._end(pool, digest, record)
                    releases.append(events.Release(digest, record.quantity))
                    units += record.quantity
            del pool.deadlines[batch]
            pool.retired[batch] = self.now_ms + self._retention_ms
        if releases:
            expired = ReservationState.EXPIRED
            self._append(events.Released(pool_id, self.now_ms, expired, tuple(releases)))
        return units

    def _end(self, pool: Pool, digest: str, record: ReservationRecord) -> None:
        """A hold's time is over."""
        self.records[digest] = replace(record, state=ReservationState.EXPIRED)
        pool.held -= record.quantity
        pool.available += record.quantity
        pool.give_back(record.buyer, record.quantity)

    def _forget(self, pool: Pool, batch_max: int) -> None:
        """Records whose retention is over, counted from the deadline they stand at."""
        for _ in range(batch_max):
            batch = first_due(pool.retired, self.now_ms)
            if batch is None:
                return
            del pool.retired[batch]
            for digest in digests_in(batch):
                record = self.records.get(digest)
                if record is None or record.state is ReservationState.HELD:
                    continue
                if record.deadline_ms + self._retention_ms <= self.now_ms:
                    del self.records[digest]
