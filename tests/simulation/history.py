"""What customers and operators were told, and whether SQL stands by every word of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flashstock import errors
from flashstock.model.group_records import group_of_cart
from flashstock.model.ids import digest_of
from flashstock.model.records import ReservationRecord
from flashstock.model.states import ReservationState
from flashstock.service.reservations import Answer
from tests.simulation.processes import CALLER, Granted
from tests.simulation.sql_tables import Tables

SOLD = (ReservationState.CONFIRMED, ReservationState.RETURNED)
CANCELLED = (ReservationState.CANCELLED, ReservationState.REVOKED)
OF_SEATS = (ReservationState.PAID, ReservationState.REFUNDED)
"""What a seat that was paid may be, too: its group has not formed yet, or failed, or was left."""


def _sold(record: ReservationRecord) -> bool:
    return record.state in SOLD or (bool(group_of_cart(record.cart)) and record.state in OF_SEATS)


def _given_back(record: ReservationRecord) -> bool:
    return record.state in CANCELLED or record.state is ReservationState.REFUNDED


class History:
    """Every acknowledgement that left a process.

    Args:
        tables: SQL as it is.
        violated: told of every broken promise.
    """

    def __init__(self, tables: Callable[[], Tables], violated: Callable[[str], None]) -> None:
        self._tables = tables
        self._violated = violated
        self.holds: dict[str, ReservationRecord] = {}
        """Acknowledged in ``ledger`` mode, by id."""
        self.fast_holds: dict[str, ReservationRecord] = {}
        self.deadlines: dict[str, int] = {}
        """The latest deadline that was acknowledged."""
        self.sales: dict[str, tuple[str, str | None]] = {}
        """Reservation → (payment, order number)."""
        self.refunds: dict[str, str] = {}
        """Payment → reservation."""
        self.cancelled: set[str] = set()
        self.commands: set[str] = set()
        self.pools: set[str] = set()
        self.acknowledged = 0

    def _row(self, reservation_id: str, what: str) -> ReservationRecord | None:
        row = self._tables().reservations.get(reservation_id)
        if row is None:
            self._violated(f"{what} of {reservation_id} is acknowledged and not in SQL")
            return None
        return row.record()

    def held(self, granted: Granted) -> None:
        """A reserve or a cart line was answered."""
        self.acknowledged += 1
        record = granted.record
        if granted.fast:
            self.fast_holds[granted.id] = record
            return
        stored = self._row(granted.id, "a hold")
        promise = (record.pool, record.buyer, record.quantity, record.generation, record.seq)
        if stored is not None:
            found = (stored.pool, stored.buyer, stored.quantity, stored.generation, stored.seq)
            if found != promise:
                self._violated(f"{granted.id} is {found} in SQL and was promised as {promise}")
        first = self.holds.setdefault(granted.id, record)
        if (first.generation, first.seq) != (record.generation, record.seq):
            self._violated(f"{granted.id}: one key, two answers: {first} and {record}")
        if record.state is ReservationState.HELD:
            self._promise_deadline(granted.id, record.deadline_ms)

    def _promise_deadline(self, reservation_id: str, deadline_ms: int) -> None:
        self.deadlines[reservation_id] = max(deadline_ms, self.deadlines.get(reservation_id, 0))

    def refused(self, reservation_id: str, refusal: BaseException) -> None:
        """Any verb on a reservation was refused."""
        unknown = isinstance(refusal, (errors.UnknownReservation, errors.UnknownPool))
        if unknown and (reservation_id in self.holds or reservation_id in self.sales):
            self._violated(f"{reservation_id} was acknowledged and now is: {refusal}")

    def refused_again(self, reservation_id: str, refusal: BaseException) -> None:
        """A reserve was refused that had been granted before: one key, two answers."""
        said_no = isinstance(refusal, (errors.Refused, errors.NotFound, errors.Invalid))
        if said_no and reservation_id in self.holds:
            self._violated(f"{reservation_id} was granted and now is refused: {refusal}")

    def against_a_rule(self, record: ReservationRecord, rule: str) -> None:
        """Something was granted that a rule of its pool does not allow."""
        self._violated(f"{record} is granted against the {rule} of its pool")

    def confirmed(self, answer: Answer, payment_ref: str) -> None:
        """A confirm was answered with a sale."""
        self.acknowledged += 1
        view = answer.view
        promise = (payment_ref, view.order_no)
        stored = self._row(view.id, "a sale")
        if stored is not None and (not _sold(stored) or stored.payment_ref != payment_ref):
            self._violated(f"{view.id} is acknowledged as sold and is {stored} in SQL")
        order = self._tables().orders.get(payment_ref)
        if order is None or (order.reservation_id, order.order_no) != (view.id, view.order_no):
            self._violated(f"the sale {view.id} {promise} has the order {order} in SQL")
        if self.sales.setdefault(view.id, promise) != promise:
            self._violated(f"{view.id}: two sales: {self.sales[view.id]} and {promise}")

    def refund_promised(self, reservation_id: str, payment_ref: str) -> None:
        """A confirm was answered with "a refund is on record"."""
        self.acknowledged += 1
        refund = self._tables().refunds.get(payment_ref)
        if refund is None or refund.reservation_id != reservation_id:
            self._violated(f"no refund of {payment_ref} for {reservation_id} in SQL: {refund}")
        self.refunds[payment_ref] = reservation_id

    def payment_refused(self, reservation_id: str, refusal: BaseException) -> None:
        """A confirm was answered with "already confirmed by another payment"."""
        if isinstance(refusal, errors.AlreadyConfirmed):
            stored = self._row(reservation_id, "a sale")
            if stored is not None and not _sold(stored):
                self._violated(f"{reservation_id} is said to be sold and is {stored.state}")

    def ended(self, answer: Answer) -> None:
        """A cancel was answered."""
        self.acknowledged += 1
        stored = self._row(answer.view.id, "a cancellation")
        if stored is not None and not _given_back(stored):
            self._violated(f"{answer.view.id} is cancelled to its buyer and {stored.state} in SQL")
        self.cancelled.add(answer.view.id)

    def extended(self, answer: Answer) -> None:
        """An extend was answered."""
        self.acknowledged += 1
        view = answer.view
        stored = self._row(view.id, "an extension")
        lost = (
            stored is not None
            and stored.state is ReservationState.HELD
            and stored.deadline_ms < view.record.deadline_ms
        )
        if lost:
            self._violated(f"{view.id} is extended to its buyer and not in SQL")
        self._promise_deadline(view.id, view.record.deadline_ms)

    def returned(self, answer: Answer, key: str) -> None:
        """A return was answered."""
        stored = self._row(answer.view.id, "a return")
        if stored is not None and stored.returned < answer.view.record.returned:
            self._violated(f"{answer.view.id}: units came back that SQL calls sold")
        self._command(digest_of("return", CALLER, key))

    def adjusted(self, key: str) -> None:
        """An adjust was answered."""
        self._command(digest_of("adjust", CALLER, key))

    def _command(self, digest: str) -> None:
        self.acknowledged += 1
        self.commands.add(digest)
        if self.times_in_journal(digest) != 1:
            self._violated(f"command {digest} is acknowledged and not in the journal once")

    def times_in_journal(self, digest: str) -> int:
        """How often a command's event is in SQL."""
        journal = self._tables().journal
        return sum(digest in row.payload for rows in journal.values() for row in rows)

    def created(self, pool: str) -> None:
        """A pool was created, to its operator."""
        self.acknowledged += 1
        self.pools.add(pool)
        if pool not in self._tables().pools:
            self._violated(f"pool {pool} is acknowledged and not in SQL")

    def check_at_the_end(self, *, redis_lost_nothing: bool) -> None:
        """Everything that was ever promised is still true.

        Args:
            redis_lost_nothing: then ``fast`` holds are promised, too.
        """
        tables: Any = self._tables()
        for reservation_id in sorted(self.fast_holds if redis_lost_nothing else ()):
            self._row(reservation_id, "a fast hold")
        for pool in sorted(self.pools - tables.pools.keys()):
            self._violated(f"pool {pool} was acknowledged and is not in SQL")
        for reservation_id in sorted(self.holds):
            self._row(reservation_id, "a hold")
        for reservation_id, (payment_ref, order_no) in sorted(self.sales.items()):
            order = tables.orders.get(payment_ref)
            if order is None or (order.reservation_id, order.order_no) != (
                reservation_id,
                order_no,
            ):
                self._violated(f"the sale {reservation_id} is not in SQL: {order}")
        for payment_ref, reservation_id in sorted(self.refunds.items()):
            refund = tables.refunds.get(payment_ref)
            if refund is None or refund.reservation_id != reservation_id:
                self._violated(f"the refund of {payment_ref} is not in SQL: {refund}")
        for reservation_id in sorted(self.cancelled):
            record = self._row(reservation_id, "a cancellation")
            if record is not None and not _given_back(record):
                self._violated(f"{reservation_id} was cancelled and is {record.state}")
        for digest in sorted(self.commands):
            if self.times_in_journal(digest) != 1:
                self._violated(f"command {digest} is not in the journal once")
