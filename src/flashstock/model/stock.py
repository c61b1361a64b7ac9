"""The words of the stock book: where units are, and how they may move.

A unit is in exactly one state of one location, or in transit, or outside. Stock changes only by a
movement: a command of one or more postings, each taking from one state and giving to another.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class StockState(StrEnum):
    """Where units of a SKU are. Those from ``SUPPLIER`` on are outside: nobody counts them."""

    AVAILABLE = "available"
    """What a shop may show."""
    COMMITTED = "committed"
    """Taken by orders that are not shipped yet."""
    UNSELLABLE = "unsellable"
    """Damaged, under inspection, or to go back to the supplier."""
    LOCKED = "locked"
    """There, and withheld from sale on purpose."""
    CAMPAIGN = "campaign"
    """Set aside for pools; what the pools say of them is in the pools."""
    OUTGOING = "outgoing"
    """Taken by a transfer, still here."""
    RESERVED = "reserved"
    """Kept for a customer or a channel."""
    BOUGHT_OUT = "bought_out"
    """Paid to the supplier already."""
    VIRTUAL = "virtual"
    """Counted in, though not there: presale, a fast supplier, an oversell ratio."""
    IN_TRANSIT = "in_transit"
    """On its way to this location, in nobody's stock on hand."""

    SUPPLIER = "supplier"
    CUSTOMER = "customer"
    STOCKTAKE = "stocktake"
    """What a count found too much, or too little."""
    ELSEWHERE = "elsewhere"
    """Sold outside, or a correction of something from outside."""
    TRANSFER = "transfer"
    """Between the two halves of one command that moves goods from one location to another."""


PHYSICAL: Final = (
    StockState.AVAILABLE,
    StockState.COMMITTED,
    StockState.UNSELLABLE,
    StockState.LOCKED,
    StockState.CAMPAIGN,
    StockState.OUTGOING,
    StockState.RESERVED,
    StockState.BOUGHT_OUT,
)
"""What is on hand, or is covered by virtual stock: ``sum(PHYSICAL) == on hand + virtual``."""
COUNTED: Final = (*PHYSICAL, StockState.VIRTUAL, StockState.IN_TRANSIT)
"""The states that have a balance."""
ON_HAND: Final = "on_hand"
"""The balance beside the states: what is physically there."""

MOVEMENT_QUANTITY_MAX: Final = 1_000_000_000
POSTINGS_MAX: Final = 1_000
"""Postings in one command, at most."""


class MovementKind(StrEnum):
    """Why units moved."""

    RECEIVE = "receive"
    SHIP = "ship"
    LOCK = "lock"
    UNLOCK = "unlock"
    COMMIT = "commit"
    UNCOMMIT = "uncommit"
    RETURN = "return"
    WRITE_OFF = "write_off"
    EXPECT = "expect"
    """Bought, not received yet."""
    TRANSFER_OUT = "transfer_out"
    TRANSFER_IN = "transfer_in"
    ALLOCATE = "allocate"
    DEALLOCATE = "deallocate"
    SOLD_ELSEWHERE = "sold_elsewhere"
    VIRTUAL = "virtual"
    """An allowance of virtual stock was granted or withdrawn."""
    RESERVE = "reserve"
    """To or from ``reserved`` and ``bought_out``."""
    INSPECT = "inspect"
    """Between available and unsellable."""


@dataclass(frozen=True, slots=True)
class Posting:
    """``quantity`` units of one SKU leave ``source`` for ``target``, at one location.

    From ``VIRTUAL`` means that an allowance is granted, to ``VIRTUAL`` that it is withdrawn, or,
    from outside, that goods have arrived for what was sold ahead of them.
    """

    sku: str
    location: str
    source: StockState
    target: StockState
    quantity: int


@dataclass(frozen=True, slots=True)
class StockCommand:
    """One movement: all of its postings, or none.

    Args:
        id: whoever repeats it repeats the same movement, and moves nothing.
        reason: why, in the words of whoever did it; reference: of which document or order.
        actor: who did it.
    """

    id: str
    kind: MovementKind
    postings: tuple[Posting, ...]
    reason: str = ""
    reference: str = ""
    actor: str = ""


def balance_deltas(posting: Posting) -> dict[str, int]:
    """What a posting does to the balances of its SKU and location, ``on_hand`` included."""
    deltas: dict[str, int] = {}

    def add(state: StockState, quantity: int) -> None:
        if state in PHYSICAL:
            deltas[state.value] = deltas.get(state.value, 0) + quantity
            deltas[ON_HAND] = deltas.get(ON_HAND, 0) + quantity
        elif state is StockState.VIRTUAL:
            # Units that come from it are counted in without being there; units that go to it
            # are there now, or are not counted in any more.
            deltas[state.value] = deltas.get(state.value, 0) - quantity
            deltas[ON_HAND] = deltas.get(ON_HAND, 0) + quantity
        elif state is StockState.IN_TRANSIT:
            deltas[state.value] = deltas.get(state.value, 0) + quantity

    add(posting.source, -posting.quantity)
    add(posting.target, posting.quantity)
    return {column: delta for column, delta in deltas.items() if delta}
