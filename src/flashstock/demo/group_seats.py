"""What the crowd was told about each seat and each group, and what must be true because of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from flashstock.client import Group, GroupProgress
from flashstock.model.states import ReservationState
from flashstock.report.audit import Acknowledged

OPEN, FORMED, FAILED = "open", "formed", "failed"
_ENDED = frozenset({ReservationState.EXPIRED, ReservationState.REVOKED})


class SeatFate(StrEnum):
    """How a seat ended, as far as its buyer was told; a paid one ends with its group."""

    OPEN = "open"
    """No answer ended it: it expires, or goes with its group."""
    PAID = "paid"
    GIVEN_UP = "given_up"
    """Before it was paid."""
    LEFT = "left"
    """After it was paid: a refund is due."""
    REFUND_DUE = "refund_due"
    """Its payment could not be served."""
    UNTOLD = "untold"
    """The request that would have ended it was never answered."""


@dataclass(slots=True)
class CrowdSeat:
    """One acknowledged seat. Times are ms since the epoch."""

    reservation: str
    pool: str
    group: str
    buyer: str
    quantity: int
    expires_ms: int
    fate: SeatFate = SeatFate.OPEN
    ended_as: ReservationState | None = None
    payment_ref: str | None = None
    order_no: str | None = None

    def is_refunded(self, group_state: str) -> bool:
        """Whether its payment is due back, given how its group ended."""
        failed = self.fate is SeatFate.PAID and group_state == FAILED
        return failed or self.fate in (SeatFate.LEFT, SeatFate.REFUND_DUE)

    def acknowledged(self, group_state: str) -> Acknowledged:
        """What must be found once its group has ended."""
        sold = self.fate is SeatFate.PAID and group_state == FORMED
        return Acknowledged(
            reservation=self.reservation,
            pool=self.pool,
            buyer=self.buyer,
            quantity=self.quantity,
            states=self._states(group_state),
            payment_ref=self.payment_ref if sold else None,
            order_no=self.order_no if sold else None,
        )

    def _states(self, group_state: str) -> frozenset[ReservationState]:
        if self.fate is SeatFate.UNTOLD:
            return frozenset(ReservationState)
        if self.fate is SeatFate.PAID:
            ended = {FORMED: ReservationState.CONFIRMED, FAILED: ReservationState.REFUNDED}
            return frozenset({ended[group_state]}) if group_state in ended else frozenset()
        if self.ended_as is not None:
            return frozenset({self.ended_as})
        if self.fate is SeatFate.REFUND_DUE:
            # Asked again after an answer was lost, it may have been paid in time, and given back.
            return _ENDED | {ReservationState.REFUNDED}
        return _ENDED


@dataclass(slots=True)
class CrowdGroup:
    """A group as the answers have shown it. ``state`` is the last that anybody was told."""

    id: str
    pool: str
    ends_ms: int
    size: int = 0
    state: str = OPEN
    house: int = 0
    paid: int = 0


@dataclass(slots=True)
class Register:
    """All groups and seats, and what of them can't be."""

    seats: dict[str, CrowdSeat] = field(default_factory=dict)
    groups: dict[str, CrowdGroup] = field(default_factory=dict)
    broken_promises: list[str] = field(default_factory=list)

    def note(self, group: str, pool: str, shown: GroupProgress) -> None:
        """Take note of an answer. An end that was told never changes; nobody sits on a lap."""
        known = self.expect(group, pool, 0)
        known.ends_ms = int(shown.ends_at.timestamp() * 1000)
        known.size = shown.size
        if shown.paid + shown.pending + shown.house > shown.size:
            self._break(f"{group}: {shown.paid} paid, {shown.pending} pending of {shown.size}")
        if known.state != OPEN and shown.state not in (known.state, OPEN):
            self._break(f"{group}: was {known.state}, and is {shown.state}")
        if shown.state != OPEN:
            known.state = shown.state
            known.house = shown.house

    def expect(self, group: str, pool: str, ends_ms: int) -> CrowdGroup:
        """Take note of a group that nothing was shown of: a repeated answer is of its seat alone.

        Args:
            ends_ms: when to ask for it.
        """
        return self.groups.setdefault(group, CrowdGroup(group, pool, ends_ms))

    def settled(self, group: Group) -> None:
        """Take note of how a group ended, in full."""
        self.note(group.id, group.pool, group)
        self.groups[group.id].paid = group.paid

    def undecided(self, now_ms: int) -> list[str]:
        """Groups whose time is over and whose end nobody was told."""
        return [
            group.id
            for group in self.groups.values()
            if group.state == OPEN and group.ends_ms <= now_ms
        ]

    def state_of(self, seat: CrowdSeat) -> str:
        """How the group of a seat ended."""
        return self.groups[seat.group].state

    def count(self, state: str) -> int:
        """Groups that are known to be in this state."""
        return sum(group.state == state for group in self.groups.values())

    def sold_units(self, pool: str) -> int:
        """Units of paid seats in formed groups."""
        return sum(
            seat.quantity
            for seat in self.seats.values()
            if seat.pool == pool and seat.fate is SeatFate.PAID and self.state_of(seat) == FORMED
        )

    def uncertain_units(self, pool: str) -> int:
        """Units of seats whose end nobody was told."""
        return sum(
            seat.quantity
            for seat in self.seats.values()
            if seat.pool == pool and seat.fate is SeatFate.UNTOLD
        )

    def check_ends(self) -> None:
        """Every group has ended, and a formed one has the seats that were paid, and no others."""
        paid: dict[str, int] = dict.fromkeys(self.groups, 0)
        untold: dict[str, int] = dict.fromkeys(self.groups, 0)
        for seat in self.seats.values():
            paid[seat.group] += seat.fate is SeatFate.PAID
            untold[seat.group] += seat.fate is SeatFate.UNTOLD
        for group in self.groups.values():
            if group.state == OPEN:
                self._break(f"{group.id}: its time is over, and it neither formed nor failed")
            elif group.state == FORMED:
                seats = paid[group.id] + group.house
                if not seats <= group.size <= seats + untold[group.id]:
                    self._break(f"{group.id}: formed with {seats} of {group.size} seats")

    def _break(self, what: str) -> None:
        self.broken_promises.append(what)
