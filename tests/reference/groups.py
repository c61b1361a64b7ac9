"""What the reference knows of groups: who is in one is read off the reservations, every time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from flashstock.model import events
from flashstock.model.group_records import (
    GroupRecord,
    cart_of_group,
    group_of_cart,
    open_score,
    paid_member,
    pending_member,
)
from flashstock.model.group_rules import GroupDeduct, GroupRules, parse_group_rules
from flashstock.model.ids import ReservationId
from flashstock.model.records import ReservationRecord
from flashstock.model.states import FailReason, GroupState, ReservationState
from tests.reference.pools import Pool, digests_in, first_due
from tests.reference.store import ReferenceStore

PENDING = (ReservationState.HELD, ReservationState.ORDERED)
PAID = (ReservationState.PAID, ReservationState.CONFIRMED, ReservationState.RETURNED)
Seat = tuple[str, ReservationRecord]


@dataclass
class Group:
    digest: str
    pool: str
    rules_text: str
    deadline_ms: int
    opener: str
    seq: int = 0
    state: GroupState = GroupState.OPEN
    house: int = 0
    forget_at_ms: int | None = None

    @property
    def rules(self) -> GroupRules:
        return parse_group_rules(self.rules_text)

    @property
    def at_forming(self) -> bool:
        return self.rules.deduct is GroupDeduct.FORM


class GroupBook(ReferenceStore):
    """Groups and what their seats' ends do to them."""

    def __init__(self, retention_ms: int) -> None:
        super().__init__(retention_ms)
        self.groups: dict[str, Group] = {}
        self.formed_before: Counter[tuple[str, str]] = Counter()
        """(pool, buyer) → groups that formed with them and are forgotten."""
        self._touched: list[Group] = []
        """Groups whose seats ended in this call, in order."""

    def seats(self, group: Group, states: Iterable[ReservationState]) -> list[Seat]:
        """In order of payment, then of asking."""
        wanted, cart = tuple(states), cart_of_group(group.digest)
        found = [
            (self.member(digest, record), digest, record)
            for digest, record in self.records.items()
            if record.cart == cart and record.state in wanted
        ]
        return [(digest, record) for _, digest, record in sorted(found)]

    @staticmethod
    def member(digest: str, record: ReservationRecord) -> str:
        group = group_of_cart(record.cart)
        if record.order_index:
            return paid_member(group, record.order_index, digest)
        return pending_member(group, record.seq, digest)

    def taken(self, group: Group) -> int:
        return len(self.seats(group, PENDING + PAID))

    def missing(self, group: Group) -> int:
        return group.rules.size - self.taken(group)

    def record_of(self, group: Group) -> GroupRecord:
        return GroupRecord(
            group.state,
            group.deadline_ms,
            group.rules_text,
            group.pool,
            len(self.seats(group, PENDING)),
            len(self.seats(group, PAID)),
            group.house,
            group.opener,
            group.seq,
        )

    def groups_of(self, pool_id: str) -> list[Group]:
        return [group for group in self.groups.values() if group.pool == pool_id]

    def open_groups(self, pool_id: str) -> list[tuple[int, Group]]:
        """Those with a free seat, the nearest to full and to its end first."""
        listed = [
            (open_score(self.missing(group), group.deadline_ms), group.digest, group)
            for group in self.groups_of(pool_id)
            if group.state is GroupState.OPEN and self.missing(group) > 0
        ]
        return [(score, group) for score, _, group in sorted(listed, key=lambda one: one[:2])]

    def seats_of_buyers(self, pool_id: str) -> dict[tuple[str, str], int]:
        """(group, buyer) → seats; ('', buyer) → groups."""
        seats: Counter[tuple[str, str]] = Counter()
        for group in self.groups_of(pool_id):
            for _, record in self.seats(group, PENDING + PAID):
                seats[group.digest, record.buyer] += 1
        together = Counter(seats)
        together.update(("", buyer) for _, buyer in seats)
        for (pool, buyer), groups in self.formed_before.items():
            if pool == pool_id:
                together["", buyer] += groups
        return dict(together)

    def overdue(self, group: Group) -> bool:
        return group.state is GroupState.OPEN and group.deadline_ms <= self.now_ms

    def _touch(self, group: Group | None) -> None:
        if group is not None and group not in self._touched:
            self._touched.append(group)

    def _free_seat(self, digest: str, state: ReservationState) -> ReservationRecord:
        """A seat ends; returns the record it had."""
        before = self.records[digest]
        self.records[digest] = replace(before, state=state)
        pool = self.pools[before.pool]
        if before.state is ReservationState.HELD:
            pool.held -= before.quantity
            pool.available += before.quantity
        elif before.state is ReservationState.CONFIRMED:
            pool.sold -= before.quantity
            pool.available += before.quantity
        if before.state is not ReservationState.ORDERED:
            pool.give_back(before.buyer, before.quantity)
        self._touch(self.groups.get(group_of_cart(before.cart)))
        return before

    def _end_seats(
        self, pool_id: str, group: str, ends: list[tuple[str, ReservationState]]
    ) -> None:
        """Several seats end at once, and that is logged."""
        unpaid: dict[ReservationState, list[events.Release]] = {}
        withdrawn, refunded = list[events.Withdrawn](), list[events.RefundedSeat]()
        for digest, state in ends:
            seat = self._free_seat(digest, state)
            if seat.state is ReservationState.ORDERED:
                parts = (digest, seat.quantity, state)
                withdrawn.append(events.Withdrawn(pool_id, self.now_ms, *parts))
            elif state is ReservationState.REFUNDED:
                due = (seat.quantity, seat.buyer, seat.payment_ref)
                refunded.append(events.RefundedSeat(digest, seat.state, *due))
            else:
                unpaid.setdefault(state, []).append(events.Release(digest, seat.quantity))
        self._log_unpaid(pool_id, unpaid, ReservationState.EXPIRED)
        for event in withdrawn:
            self._append(event)
        self._log_unpaid(pool_id, unpaid, ReservationState.REVOKED)
        if refunded:
            seats = tuple(refunded)
            self._append(events.SeatsRefunded(pool_id, self.now_ms, group, seats))
        self._log_unpaid(pool_id, unpaid, ReservationState.CANCELLED)

    def _log_unpaid(
        self,
        pool_id: str,
        unpaid: dict[ReservationState, list[events.Release]],
        state: ReservationState,
    ) -> None:
        if releases := unpaid.get(state):
            self._append(events.Released(pool_id, self.now_ms, state, tuple(releases)))

    def _release_seats(self, pool_id: str, pool: Pool, batch_max: int, units: float) -> None:
        """End pending seats whose own deadline has passed."""
        enough = pool.available + units
        for _ in range(batch_max):
            batch = first_due(pool.deadlines, self.now_ms)
            if batch is None or pool.available >= enough:
                return
            ends = [
                (digest, ReservationState.EXPIRED)
                for digest in digests_in(batch)
                if digest in self.records
                and self.records[digest].state in PENDING
                and self.records[digest].deadline_ms <= self.now_ms
            ]
            self._end_seats(pool_id, "", ends)
            del pool.deadlines[batch]
            pool.retired[batch] = self.now_ms + self._retention_ms

    def _fail(self, group: Group, reason: FailReason) -> None:
        group.state = GroupState.FAILED
        paid = len(self.seats(group, PAID))
        self._touch(group)
        self._append(events.GroupFailed(group.pool, self.now_ms, group.digest, reason, paid))

    def _close_groups(self) -> None:
        """The last seat gone, or the opener's."""
        for group in self._touched:
            left = self.seats(group, PAID + PENDING)
            if group.state is GroupState.OPEN and not left:
                self._fail(group, FailReason.ABANDONED)
            elif group.state is GroupState.OPEN and group.opener not in dict(left):
                group.opener = left[0][0]
                self._append(
                    events.OpenerPassed(group.pool, self.now_ms, group.digest, group.opener)
                )
        for group in self._touched:
            failed = group.state is GroupState.FAILED
            left = self.seats(group, PENDING + PAID if failed else PENDING)
            if group.state is not GroupState.OPEN and not left and group.forget_at_ms is None:
                group.forget_at_ms = self.now_ms + self._retention_ms
        self._touched = []

    def _settled_seat(self, target: ReservationId, group: Group | None) -> ReservationRecord:
        """In a group that has ended, the seat ends before anybody asks it anything."""
        record = self.records[target.digest]
        if group is None or group.state is GroupState.OPEN:
            return record
        if record.state in PENDING:
            over = record.deadline_ms <= self.now_ms
            end = ReservationState.EXPIRED if over else ReservationState.REVOKED
        elif record.state in PAID and group.state is GroupState.FAILED:
            end = ReservationState.REFUNDED
        else:
            return record
        self._end_seats(target.pool, group.digest, [(target.digest, end)])
        return self.records[target.digest]

    def _settle_seats(self, group: Group | None) -> None:
        if group is None or group.state is GroupState.OPEN:
            return
        failed = group.state is GroupState.FAILED
        ends = []
        for digest, record in self.seats(group, PAID + PENDING if failed else PENDING):
            over = record.deadline_ms <= self.now_ms
            unpaid = ReservationState.EXPIRED if over else ReservationState.REVOKED
            paid = record.state in PAID
            ends.append((digest, ReservationState.REFUNDED if paid else unpaid))
        if ends:
            self._end_seats(group.pool, group.digest, ends)
