"""The packed reservation record, as the scripts write it (``lua/include/record.lua``).

``<state><deadline_ms, 13 digits>⇥<generation>⇥<seq>⇥<quantity>⇥<pool>⇥<buyer>⇥<cart>``, and for a
record that a payment reached, ``⇥<payment_ref>⇥<order_index>⇥<returned>``. ``seq`` is the first
event number of the log entry that granted the hold. Text, so that ``redis-cli`` can read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flashstock.model.ids import FIELD_SEPARATOR
from flashstock.model.states import ReservationState

STATE_LETTERS: Final = {
    "h": ReservationState.HELD,
    "o": ReservationState.ORDERED,
    "c": ReservationState.CONFIRMED,
    "x": ReservationState.CANCELLED,
    "e": ReservationState.EXPIRED,
    "v": ReservationState.REVOKED,
    "r": ReservationState.RETURNED,
    "p": ReservationState.PAID,
    "u": ReservationState.REFUNDED,
}
LETTER_OF: Final[dict[str, str]] = {state.value: letter for letter, state in STATE_LETTERS.items()}


@dataclass(frozen=True, slots=True)
class ReservationRecord:
    """One reservation as the hot path knows it. Times are ms since the epoch, Redis clock."""

    state: ReservationState
    deadline_ms: int
    generation: int
    seq: int
    quantity: int
    pool: str
    buyer: str
    cart: str = ""
    payment_ref: str = ""
    order_index: int = 0
    returned: int = 0

    def pack(self) -> str:
        """The exact text the scripts would write for this record."""
        return pack_record(
            self.state,
            self.deadline_ms,
            self.generation,
            self.seq,
            self.quantity,
            self.pool,
            self.buyer,
            self.cart,
            self.payment_ref,
            self.order_index,
            self.returned,
        )


def pack_record(
    state: str,
    deadline_ms: int,
    generation: int,
    seq: int,
    quantity: int,
    pool: str,
    buyer: str,
    cart: str,
    payment_ref: str | None,
    order_index: int,
    returned: int,
) -> str:
    """The same from its fields, for who has a million of them and no record."""
    packed = (
        f"{LETTER_OF[state]}{deadline_ms:013d}\t{generation}\t{seq}\t{quantity}"
        f"\t{pool}\t{buyer}\t{cart}"
    )
    return f"{packed}\t{payment_ref}\t{order_index}\t{returned}" if payment_ref else packed


def unpack_record(packed: str) -> ReservationRecord:
    """Read a packed record. Raises ``ValueError`` on text that no script of ours wrote."""
    fields = packed.split(FIELD_SEPARATOR)
    if len(fields) not in (7, 10) or fields[0][:1] not in STATE_LETTERS:
        raise ValueError(f"not a reservation record: {packed!r}")
    payment = fields[7:] or ["", "0", "0"]
    return ReservationRecord(
        state=STATE_LETTERS[fields[0][0]],
        deadline_ms=int(fields[0][1:]),
        generation=int(fields[1]),
        seq=int(fields[2]),
        quantity=int(fields[3]),
        pool=fields[4],
        buyer=fields[5],
        cart=fields[6],
        payment_ref=payment[0],
        order_index=int(payment[1]),
        returned=int(payment[2]),
    )
