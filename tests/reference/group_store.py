"""The reference with all verbs on groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from flashstock.hotpath.group_replies import (
    GroupAndSeats,
    GroupsReply,
    OpenGroup,
    OpenGroupsReply,
    SeatReply,
)
from flashstock.hotpath.replies import ReservationReply
from flashstock.hotpath.scripts import (
    ExtendStatus,
    LeaveGroupStatus,
    PaySeatStatus,
    ReturnSaleStatus,
    SettleGroupStatus,
)
from flashstock.model import events
from flashstock.model.group_records import group_of_cart
from flashstock.model.ids import ReservationId
from flashstock.model.records import ReservationRecord
from flashstock.model.states import FailReason, GroupState, PoolState, ReservationState
from tests.reference.groups import PAID, PENDING, Group
from tests.reference.pools import Pool, digests_in, first_due
from tests.reference.seats import SeatTaker
from tests.reference.shard import RECLAIM_BATCHES_MAX

CANCELLED = (ReservationState.CANCELLED, ReservationState.REVOKED)


class ReferenceGroupStore(SeatTaker):
    """A shard in memory with all methods of ``HotStore``, for pools that sell to groups."""

    async def confirm(self, target: ReservationId, payment_ref: str) -> ReservationReply:
        if self._is_seat(target):
            return await self.pay_seat(target, payment_ref)
        return await super().confirm(target, payment_ref)

    async def cancel(self, target: ReservationId, kind: str) -> ReservationReply:
        if self._is_seat(target):
            return await self.leave_group(target, kind)
        return await super().cancel(target, kind)

    async def expire(self, pool_id: str, batch_max: int) -> tuple[int, int]:
        if pool_id in self.pools and self.pools[pool_id].settings.group_buy:
            return await self.sweep_groups(pool_id, batch_max)
        return await super().expire(pool_id, batch_max)

    def _is_seat(self, target: ReservationId) -> bool:
        record = self._find(target)
        return record is not None and bool(group_of_cart(record.cart))

    def _group(self, target: ReservationId) -> Group | None:
        record = self._find(target)
        return None if record is None else self.groups.get(group_of_cart(record.cart))

    def _arrive(self, target: ReservationId) -> tuple[ReservationRecord, Group | None]:
        """Before anything else, what time has decided."""
        group = self._group(target)
        if group is not None and self.overdue(group):
            self._decide(group)
        return self._settled_seat(target, group), group

    def _leave(
        self, status: int, target: ReservationId, group: Group | None, *, lookup: bool = True
    ) -> SeatReply:
        self._settle_seats(group)
        self._close_groups()
        record = self.records[target.digest] if lookup else None
        told = None if group is None else self.record_of(group)
        return SeatReply("1", int(status), self.now_ms, self.seq, record, told)

    def _decide(self, group: Group) -> None:
        paid = len(self.seats(group, PAID))
        if paid and group.rules.size - paid <= group.rules.house_max:
            self._form(group, group.rules.size - paid)
        else:
            self._fail(group, FailReason.DEADLINE)

    def _form(self, group: Group, house: int) -> None:
        pool = self.pools[group.pool]
        paid = self.seats(group, PAID)
        if group.at_forming:
            units = sum(record.quantity for _, record in paid)
            if not self._find_units(group.pool, pool, units):
                self._fail(group, FailReason.NO_STOCK)
                return
            for digest, record in paid:
                self.records[digest] = replace(record, state=ReservationState.CONFIRMED)
            pool.available -= units
            pool.sold += units
            served = tuple(events.Release(digest, record.quantity) for digest, record in paid)
            self._append(events.SeatsServed(group.pool, self.now_ms, group.digest, served))
        group.state, group.house = GroupState.FORMED, house
        self._touch(group)
        counts = (group.digest, len(paid), house)
        self._append(events.GroupFormed(group.pool, self.now_ms, *counts))

    def _find_units(self, pool_id: str, pool: Pool, wanted: int) -> bool:
        if pool.available < wanted:
            self._release_waves(pool_id, pool)
            shortage = wanted - pool.available
            self._release_seats(pool_id, pool, RECLAIM_BATCHES_MAX, shortage)
        return pool.available >= wanted

    async def pay_seat(self, target: ReservationId, payment_ref: str) -> SeatReply:
        if self._find(target) is None:
            return SeatReply("1", PaySeatStatus.UNKNOWN, self.now_ms, self.seq, None)
        owner = self.payments.get(payment_ref)
        record, group = self._arrive(target)
        same = record.payment_ref == payment_ref
        status = PaySeatStatus.REFUND_DUE
        if record.state in PAID:
            status = PaySeatStatus.REPLAYED if same else PaySeatStatus.ALREADY_CONFIRMED
        elif owner is not None and owner != target and not same:
            status = PaySeatStatus.PAYMENT_REF_USED
        elif record.state in CANCELLED:
            status = PaySeatStatus.ALREADY_CANCELLED
            self._owe(target, record, payment_ref, owner)
        elif same:
            pass  # its refund is on record
        elif owner is None and group is not None and self._may_pay(target, group):
            self.payments[payment_ref] = target
            self._pay(target, payment_ref)
            if len(self.seats(group, PAID)) >= group.rules.size:
                self._form(group, 0)
            if group.state is not GroupState.FAILED:
                status = PaySeatStatus.CONFIRMED
        else:
            self._owe(target, record, payment_ref, owner)
        return self._leave(status, target, group)

    def _owe(
        self,
        target: ReservationId,
        record: ReservationRecord,
        payment_ref: str,
        owner: ReservationId | None,
    ) -> None:
        if owner is None:
            self.payments[payment_ref] = target
            due = (target.digest, record.quantity, record.buyer, payment_ref)
            self._append(events.RefundDue(target.pool, self.now_ms, *due))

    def _may_pay(self, target: ReservationId, group: Group) -> bool:
        record, pool = self.records[target.digest], self.pools[target.pool]
        if group.state is not GroupState.OPEN or record.state is ReservationState.REFUNDED:
            return False
        if record.state is ReservationState.HELD:
            return True
        if record.state is ReservationState.EXPIRED:
            if self.missing(group) <= 0:
                self._release_seats(target.pool, pool, RECLAIM_BATCHES_MAX, math.inf)
            seats = self.seats_of_buyers(group.pool).get((group.digest, record.buyer), 0)
            groups, rules = self._groups_in(group.pool, record.buyer), group.rules
            too_many = not seats and rules.groups_per_buyer and groups >= rules.groups_per_buyer
            if self.missing(group) <= 0 or seats >= rules.seats_per_buyer or too_many:
                return False
        limit = pool.settings.per_buyer_limit
        if pool.settings.state is PoolState.CLOSED:
            return False
        if limit and pool.buyers.get(record.buyer, 0) + record.quantity > limit:
            return False
        return self._find_units(target.pool, pool, record.quantity)

    def _pay(self, target: ReservationId, payment_ref: str) -> None:
        record, pool = self.records[target.digest], self.pools[target.pool]
        at_forming = self.groups[group_of_cart(record.cart)].at_forming
        if record.state is ReservationState.HELD:
            pool.held -= record.quantity
        else:
            pool.take(record.buyer, record.quantity)
            pool.available -= 0 if at_forming else record.quantity
        pool.sold += 0 if at_forming else record.quantity
        self.orders += 1
        self.records[target.digest] = replace(
            record,
            state=ReservationState.PAID if at_forming else ReservationState.CONFIRMED,
            payment_ref=payment_ref,
            order_index=self.orders,
        )
        kind = events.SeatPaid if at_forming else events.Confirmed
        sale = (record.quantity, record.buyer, payment_ref, self.orders)
        self._append(kind(target.pool, self.now_ms, target.digest, record.state, *sale))

    async def leave_group(self, target: ReservationId, kind: str) -> SeatReply:
        if self._find(target) is None:
            return SeatReply("1", LeaveGroupStatus.UNKNOWN, self.now_ms, self.seq, None)
        record, group = self._arrive(target)
        status = LeaveGroupStatus.CANCELLED
        if record.state in (*CANCELLED, ReservationState.REFUNDED):
            status = LeaveGroupStatus.REPLAYED
        elif record.state is ReservationState.EXPIRED:
            status = LeaveGroupStatus.EXPIRED
        elif group is None or group.state is not GroupState.OPEN:
            status = LeaveGroupStatus.ALREADY_CONFIRMED
        else:
            unpaid = ReservationState(kind)
            end = ReservationState.REFUNDED if record.state in PAID else unpaid
            self._end_seats(target.pool, group.digest, [(target.digest, end)])
        return self._leave(status, target, group)

    async def settle_group(self, group: ReservationId) -> tuple[SettleGroupStatus, SeatReply]:
        found = self.groups.get(group.digest)
        status = SettleGroupStatus.SETTLED
        if found is None or found.pool != group.pool:
            status, found = SettleGroupStatus.UNKNOWN, None
        elif self.overdue(found):
            self._decide(found)
        if found is not None and found.state is GroupState.OPEN:
            status = SettleGroupStatus.OPEN
        return status, self._leave(status, group, found, lookup=False)

    async def sweep_groups(self, pool_id: str, batch_max: int) -> tuple[int, int]:
        if pool_id not in self.pools:
            self.due.pop(pool_id, None)
        pool = self._pool(pool_id)
        before = pool.available
        next_due_ms = self._release_waves(pool_id, pool)
        self._release_seats(pool_id, pool, batch_max, math.inf)
        touched = list(self._touched)
        self._close_groups()
        for at_ms, _, group in sorted(self._ends(pool_id), key=lambda one: one[:2]):
            if at_ms > self.now_ms or (group in touched and group.forget_at_ms is not None):
                continue
            if self.overdue(group):
                self._decide(group)
            elif group.forget_at_ms is not None:
                self._forget_group(group)
            self._settle_seats(group)
        self._close_groups()
        self._forget_seats(pool, batch_max)
        moments = [next_due_ms, *pool.deadlines.values(), *pool.retired.values()]
        moments += [at_ms for at_ms, _, _ in self._ends(pool_id)]
        next_due_ms = min((moment for moment in moments if moment), default=0)
        self.due.pop(pool_id, None)
        if next_due_ms:
            self.due[pool_id] = next_due_ms
        return pool.available - before, next_due_ms

    def _ends(self, pool_id: str) -> list[tuple[int, str, Group]]:
        """When something happens to each group by time alone."""
        return [
            (group.forget_at_ms or group.deadline_ms, group.digest, group)
            for group in self.groups_of(pool_id)
        ]

    def _forget_group(self, group: Group) -> None:
        for buyer in {record.buyer for _, record in self.seats(group, PAID)}:
            self.formed_before[group.pool, buyer] += 1
        del self.groups[group.digest]

    def _forget_seats(self, pool: Pool, batch_max: int) -> None:
        """As long as a group is remembered, its seats are."""
        batches = []
        for _ in range(batch_max):
            if (batch := first_due(pool.retired, self.now_ms)) is None:
                break
            del pool.retired[batch]
            batches.append(batch)
        for digest in (digest for batch in batches for digest in digests_in(batch)):
            record = self.records.get(digest)
            group = None if record is None else self.groups.get(group_of_cart(record.cart))
            if group is not None:
                later_ms = max(self.now_ms, group.deadline_ms) + self._retention_ms
                pool.retired[digest] = later_ms
            elif record is not None and record.deadline_ms + self._retention_ms <= self.now_ms:
                del self.records[digest]

    async def extend(self, target: ReservationId, extension_ms: int) -> ReservationReply:
        group, record = self._group(target), self._find(target)
        if record is not None and record.state is ReservationState.PAID:
            return self._reply(ExtendStatus.ALREADY_CONFIRMED, record)
        if record is not None and record.state is ReservationState.REFUNDED:
            return self._reply(ExtendStatus.ALREADY_CANCELLED, record)
        if self._is_seat(target):
            ends_ms = 0 if group is None else group.deadline_ms
            extension_ms = min(extension_ms, ends_ms - self.now_ms)
        return await super().extend(target, extension_ms)

    async def return_sale(
        self,
        target: ReservationId,
        quantity: int,
        command_digest: str,
        *,
        restock: bool = True,
    ) -> ReservationReply:
        record, group = self._find(target), self._group(target)
        formed = group is None or group.state is GroupState.FORMED
        live = record is not None and record.state in (
            ReservationState.CONFIRMED,
            ReservationState.PAID,
        )
        if live and not formed and command_digest not in self.commands:
            return self._reply(ReturnSaleStatus.NOT_FORMED, record)
        return await super().return_sale(target, quantity, command_digest, restock=restock)

    async def read_groups(
        self, pool_id: str, digests: Sequence[str], seats_max: int
    ) -> GroupsReply:
        found = list[GroupAndSeats | None]()
        for digest in digests:
            group = self.groups.get(digest)
            if group is None or group.pool != pool_id:
                found.append(None)
                continue
            seats = tuple(self.seats(group, PAID + PENDING)[:seats_max])
            found.append(GroupAndSeats(digest, self.record_of(group), seats))
        return GroupsReply("1", self.now_ms, self.seq, tuple(found))

    async def list_open_groups(
        self, pool_id: str, limit: int, after: tuple[int, str] | None = None
    ) -> OpenGroupsReply:
        self._group_pool(pool_id)
        listed = [
            OpenGroup(group.digest, score, self.record_of(group))
            for score, group in self.open_groups(pool_id)
            if group.deadline_ms > self.now_ms
        ]
        rest = [one for one in listed if after is None or (one.score, one.digest) > after]
        more = len(rest) > limit
        return OpenGroupsReply("1", self.now_ms, self.seq, tuple(rest[:limit]), more)
