"""What the scripts do, said once more in plain Python: the same verbs, answers and log.

It has no server and no Lua, and it does the obvious thing. Whoever reads both can say which of
them is wrong; the contract suite and the state machine run on both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from flashstock.errors import UnknownPool
from flashstock.hotpath.replies import (
    BatchReply,
    LookupReply,
    PoolSnapshot,
    ReservationReply,
)
from flashstock.hotpath.scripts import (
    AdjustStatus,
    CancelStatus,
    ConfigureStatus,
    ConfirmStatus,
    ExtendStatus,
    ReclaimStatus,
    ReturnSaleStatus,
    Verdict,
)
from flashstock.model import events
from flashstock.model.eligibility import unpack_attests
from flashstock.model.ids import ReservationId, limit_scope
from flashstock.model.records import ReservationRecord
from flashstock.model.rules import NO_DEADLINE_MS, POOL_QUANTITY_MAX
from flashstock.model.states import Durability, ReservationState
from tests.reference.carts import ReferenceCarts
from tests.reference.pools import Pool, digests_in

GENERATION = "1"


class ReferenceStore(ReferenceCarts):
    """A shard in memory, with the methods of ``HotStore``. ``now_ms`` is set by the test."""

    def shard_of(self, pool_id: str) -> int:
        return 0

    async def configure(
        self,
        pool_id: str,
        rules: dict[str, str],
        *,
        created: tuple[int, int] | None,
        reason: str = "",
    ) -> tuple[ConfigureStatus, PoolSnapshot]:
        pool = self.pools.get(pool_id)
        if created and pool:
            return ConfigureStatus.EXISTS, self._snapshot(pool_id)
        if not created and not pool:
            raise UnknownPool
        if pool and pool.rules["state"] == "closed":
            return ConfigureStatus.CLOSED, self._snapshot(pool_id)
        had = pool.rules["group_buy"] if pool else ""
        if pool and bool(had) != bool(rules.get("group_buy", had)):
            return ConfigureStatus.GROUP_BUY_FIXED, self._snapshot(pool_id)
        total, locked = created or (0, 0)
        if pool is None:
            buyers = self.buyers.setdefault(limit_scope(pool_id), {})
            pool = Pool({}, total, total - locked, locked, buyers=buyers)
            self.pools[pool_id] = pool
        elif all(pool.rules[name] == value for name, value in rules.items()):
            return ConfigureStatus.UNCHANGED, self._snapshot(pool_id)
        pool.rules |= rules
        if pool.settings.waves:
            self._wake(pool_id, pool.settings.waves[0].at_ms)
        self._append(
            events.Configured(
                pool_id, self.now_ms, pool.settings, created is not None, total, locked, reason
            )
        )
        return ConfigureStatus.CONFIGURED, self._snapshot(pool_id)

    async def reserve(
        self,
        pool_id: str,
        units_wanted: int,
        digests: Sequence[str],
        buyers: Sequence[str],
        quantities: Sequence[str],
        attests: Sequence[str] | None = None,
    ) -> BatchReply:
        pool = self._pool(pool_id)
        next_wave_ms = self._settle(pool_id, pool, units_wanted)
        verdicts: list[Verdict] = []
        replays: list[bytes] = []
        holds: list[events.Hold] = []
        state, first_seq = pool.granted_state, self.seq + 1
        deadline_ms = pool.deadline_of_new(self.now_ms)
        said = [unpack_attests(packed) for packed in attests or [""] * len(digests)]
        columns = zip(digests, buyers, map(int, quantities), said, strict=True)
        for digest, buyer, quantity, attested in columns:
            record = ReservationRecord(state, deadline_ms, 1, first_seq, quantity, pool_id, buyer)
            verdict = self._verdict(pool, digest, record, attested)
            verdicts.append(verdict)
            if verdict is Verdict.HELD:
                self._hold(pool, digest, record)
                holds.append(events.Hold(digest, buyer, quantity, ""))
            elif verdict is Verdict.REPLAYED:
                replays.append(self.records[digest].pack().encode())
        if holds:
            self._wait(pool_id, [hold.digest for hold in holds], deadline_ms)
            self._append(events.Held(pool_id, self.now_ms, deadline_ms, tuple(holds), state))
        return BatchReply(
            GENERATION,
            self.now_ms,
            pool.available,
            pool.grants,
            self.seq,
            first_seq,
            deadline_ms,
            pool.settings.durability is Durability.FAST,
            next_wave_ms,
            pool.settings.starts_at_ms,
            pool.settings.per_buyer_limit,
            bytes(48 + verdict for verdict in verdicts),
            replays,
            *pool.door(seen=Verdict.NOT_ELIGIBLE in verdicts),
            state is ReservationState.ORDERED,
        )

    async def confirm(self, target: ReservationId, payment_ref: str) -> ReservationReply:
        record = self._find(target)
        if record is None:
            return self._reply(ConfirmStatus.UNKNOWN, None)
        owner = self.payments.get(payment_ref)
        if record.state in (ReservationState.CONFIRMED, ReservationState.RETURNED):
            same = record.payment_ref == payment_ref
            return self._reply(
                ConfirmStatus.REPLAYED if same else ConfirmStatus.ALREADY_CONFIRMED, record
            )
        if owner is not None and owner != target:
            return self._reply(ConfirmStatus.PAYMENT_REF_USED, record)
        late = record.state in (ReservationState.EXPIRED, ReservationState.ORDERED)
        cancelled = record.state in (ReservationState.CANCELLED, ReservationState.REVOKED)
        refused = ConfirmStatus.ALREADY_CANCELLED if cancelled else ConfirmStatus.REFUND_DUE
        if owner is not None:
            return self._reply(refused, record)
        self.payments[payment_ref] = target
        pool = self.pools[target.pool]
        if late and self._serve_late(target.pool, pool, record):
            pool.available -= record.quantity
            pool.take(record.buyer, record.quantity)
        elif record.state is not ReservationState.HELD:
            due = (target.digest, record.quantity, record.buyer, payment_ref)
            self._append(events.RefundDue(target.pool, self.now_ms, *due))
            return self._reply(refused, record)
        return self._reply(ConfirmStatus.CONFIRMED, self._sell(target, record, payment_ref))

    async def reclaim(
        self,
        target: ReservationId,
        payment_ref: str,
        *,
        buyer: str,
        quantity: int,
        deadline_ms: int,
    ) -> ReservationReply:
        pool = self._pool(target.pool)
        if self._find(target) is not None:
            return self._reply(ReclaimStatus.KNOWN, None)
        owner = self.payments.get(payment_ref)
        if owner is not None:
            used = owner != target
            return self._reply(
                ReclaimStatus.PAYMENT_REF_USED if used else ReclaimStatus.REFUND_DUE, None
            )
        self.payments[payment_ref] = target
        deadline_ms = self.now_ms if deadline_ms == NO_DEADLINE_MS else deadline_ms
        record = ReservationRecord(
            ReservationState.HELD, deadline_ms, 1, 0, quantity, target.pool, buyer
        )
        taken = target.digest in self.records
        if taken or not self._serve_late(target.pool, pool, record):
            due = (target.digest, quantity, buyer, payment_ref)
            self._append(events.RefundDue(target.pool, self.now_ms, *due))
            return self._reply(ReclaimStatus.REFUND_DUE, None)
        self._hold(pool, target.digest, replace(record, seq=self.seq + 1))
        hold = events.Hold(target.digest, buyer, quantity, "")
        self._append(events.Held(target.pool, self.now_ms, deadline_ms, (hold,)))
        forget_at_ms = max(self.now_ms, deadline_ms) + self._retention_ms
        pool.retired[target.digest] = forget_at_ms
        self._wake(target.pool, forget_at_ms)
        sold = self._sell(target, self.records[target.digest], payment_ref)
        return self._reply(ReclaimStatus.RECLAIMED, sold)

    async def cancel(self, target: ReservationId, kind: str) -> ReservationReply:
        record = self._find(target)
        if record is None:
            return self._reply(CancelStatus.UNKNOWN, None)
        match record.state:
            case ReservationState.CANCELLED | ReservationState.REVOKED:
                return self._reply(CancelStatus.REPLAYED, record)
            case ReservationState.CONFIRMED | ReservationState.RETURNED:
                return self._reply(CancelStatus.ALREADY_CONFIRMED, record)
            case ReservationState.EXPIRED:
                return self._reply(CancelStatus.EXPIRED, record)
        held = record.state is ReservationState.HELD
        record = self._at_end(target, replace(record, state=ReservationState(kind)))
        self.records[target.digest] = record
        if not held:
            what = (target.digest, record.quantity, record.state)
            self._append(events.Withdrawn(target.pool, self.now_ms, *what))
            return self._reply(CancelStatus.CANCELLED, record)
        pool = self.pools[target.pool]
        pool.held -= record.quantity
        pool.available += record.quantity
        pool.give_back(record.buyer, record.quantity)
        release = events.Release(target.digest, record.quantity)
        self._append(events.Released(target.pool, self.now_ms, record.state, (release,)))
        return self._reply(CancelStatus.CANCELLED, record)

    async def extend(self, target: ReservationId, extension_ms: int) -> ReservationReply:
        record = self._find(target)
        if record is None:
            return self._reply(ExtendStatus.UNKNOWN, None)
        match record.state:
            case ReservationState.CONFIRMED | ReservationState.RETURNED:
                return self._reply(ExtendStatus.ALREADY_CONFIRMED, record)
            case ReservationState.CANCELLED | ReservationState.REVOKED:
                return self._reply(ExtendStatus.ALREADY_CANCELLED, record)
        if record.state is ReservationState.ORDERED:
            return self._reply(ExtendStatus.UNCHANGED, record)
        if record.state is ReservationState.EXPIRED or record.deadline_ms <= self.now_ms:
            return self._reply(ExtendStatus.EXPIRED, record)
        deadline_ms = self.now_ms + extension_ms
        if deadline_ms <= record.deadline_ms:
            return self._reply(ExtendStatus.UNCHANGED, record)
        record = self.records[target.digest] = replace(record, deadline_ms=deadline_ms)
        self.pools[target.pool].deadlines[target.digest] = deadline_ms
        self._wake(target.pool, deadline_ms)
        self._append(events.Extended(target.pool, self.now_ms, target.digest, deadline_ms))
        return self._reply(ExtendStatus.EXTENDED, record)

    async def return_sale(
        self,
        target: ReservationId,
        quantity: int,
        command_digest: str,
        *,
        restock: bool = True,
    ) -> ReservationReply:
        record = self._find(target)
        if record is None:
            return self._reply(ReturnSaleStatus.UNKNOWN, None)
        command = ("return", target.digest, quantity, restock)
        earlier = self.commands.get(command_digest)
        if earlier is not None:
            same = earlier == command
            return self._reply(
                ReturnSaleStatus.REPLAYED if same else ReturnSaleStatus.MISMATCH, record
            )
        if record.state is ReservationState.RETURNED:
            return self._reply(ReturnSaleStatus.ALREADY_RETURNED, record)
        if record.state is not ReservationState.CONFIRMED:
            return self._reply(ReturnSaleStatus.NOT_CONFIRMED, record)
        left = record.quantity - record.returned
        if quantity > left:
            return self._reply(ReturnSaleStatus.TOO_MANY, record)
        self.commands[command_digest] = command
        back = quantity or left
        complete = back == left
        record = self.records[target.digest] = replace(
            record,
            returned=record.returned + back,
            state=ReservationState.RETURNED if complete else ReservationState.CONFIRMED,
        )
        pool = self.pools[target.pool]
        pool.sold -= back
        if restock:
            pool.available += back
        else:
            pool.total -= back
        pool.give_back(record.buyer, back)
        counts = (back, record.returned, complete, command_digest, quantity, restock)
        self._append(events.Returned(target.pool, self.now_ms, target.digest, *counts))
        return self._reply(ReturnSaleStatus.RETURNED, record)

    async def expire(self, pool_id: str, batch_max: int) -> tuple[int, int]:
        if pool_id not in self.pools:
            self.due.pop(pool_id, None)
        pool = self._pool(pool_id)
        next_due_ms = self._release_waves(pool_id, pool)
        units = self._release_expired(pool_id, pool, batch_max, math.inf)
        self._forget(pool, batch_max)
        moments = [next_due_ms, *pool.deadlines.values(), *pool.retired.values()]
        next_due_ms = min((moment for moment in moments if moment), default=0)
        self.due.pop(pool_id, None)
        if next_due_ms:
            self.due[pool_id] = next_due_ms
        return units, next_due_ms

    async def adjust(
        self, pool_id: str, total_delta: int, locked_delta: int, command_digest: str
    ) -> tuple[AdjustStatus, str, int, int]:
        pool = self._pool(pool_id)
        command = ("adjust", pool_id, total_delta, locked_delta)
        available = pool.available + total_delta - locked_delta
        earlier = self.commands.get(command_digest)
        if earlier is not None:
            status = AdjustStatus.REPLAYED if earlier == command else AdjustStatus.MISMATCH
        elif available < 0 or pool.locked + locked_delta < 0:
            status = AdjustStatus.INSUFFICIENT
        elif pool.total + total_delta > POOL_QUANTITY_MAX:
            status = AdjustStatus.TOO_LARGE
        else:
            status = AdjustStatus.ADJUSTED
            self.commands[command_digest] = command
            pool.total += total_delta
            pool.available = available
            pool.locked += locked_delta
            deltas = (total_delta, locked_delta, command_digest)
            self._append(events.Adjusted(pool_id, self.now_ms, *deltas))
        return status, GENERATION, self.seq, pool.available

    async def snapshot(self, pool_id: str) -> PoolSnapshot:
        self._pool(pool_id)
        return self._snapshot(pool_id)

    async def known(self, pool_id: str, digests_max: int) -> tuple[int, frozenset[bytes]] | None:
        pool = self._pool(pool_id)
        digests = [d for batch in (*pool.deadlines, *pool.retired) for d in digests_in(batch)]
        if len(digests) > digests_max:
            return None
        return pool.grants, frozenset(digest.encode() for digest in digests)

    async def lookup(self, shard: int, digests: Sequence[str]) -> LookupReply:
        records = tuple(self.records.get(digest) for digest in digests)
        return LookupReply(GENERATION, self.now_ms, self.seq, records)
