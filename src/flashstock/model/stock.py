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

OUTSIDE: Final = (
    StockState.SUPPLIER,
    StockState.CUSTOMER,
    StockState.STOCKTAKE,
    StockState.ELSEWHERE,
)

SKU_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f/]{1,128}$"
"""A SKU stands in paths, so it holds no slash."""
LOCATION_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
SKUS_RESERVED: Final = frozenset({"movements", "commitments", ".", ".."})
"""Paths below ``/v1/stock`` that are no SKU's."""
REASON_LENGTH_MAX: Final = 500
REFERENCE_LENGTH_MAX: Final = 128
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


Pair = tuple[StockState, StockState]
"""From which state to which."""


@dataclass(frozen=True, slots=True)
class KindRule:
    """What a kind of movement may do.

    Args:
        manual: the pairs that a person may post; the first is meant where none is named.
        others: those that only the book itself posts, for a document, an order or a pool.
        wants_reason: whether a person must say why.
    """

    manual: tuple[Pair, ...] = ()
    others: tuple[Pair, ...] = ()
    wants_reason: bool = False


_K = MovementKind
_S = StockState
KIND_RULES: Final[dict[MovementKind, KindRule]] = {
    _K.RECEIVE: KindRule(
        ((_S.SUPPLIER, _S.AVAILABLE), (_S.SUPPLIER, _S.UNSELLABLE)),
        (
            (_S.SUPPLIER, _S.VIRTUAL),
            (_S.IN_TRANSIT, _S.AVAILABLE),
            (_S.IN_TRANSIT, _S.UNSELLABLE),
            (_S.IN_TRANSIT, _S.VIRTUAL),
            (_S.STOCKTAKE, _S.AVAILABLE),
            (_S.STOCKTAKE, _S.VIRTUAL),
        ),
    ),
    _K.SHIP: KindRule(
        ((_S.COMMITTED, _S.CUSTOMER), (_S.UNSELLABLE, _S.SUPPLIER)),
        ((_S.CAMPAIGN, _S.COMMITTED), (_S.CAMPAIGN, _S.CUSTOMER)),
    ),
    _K.LOCK: KindRule(((_S.AVAILABLE, _S.LOCKED),), wants_reason=True),
    _K.UNLOCK: KindRule(((_S.LOCKED, _S.AVAILABLE),)),
    _K.COMMIT: KindRule(
        (
            (_S.AVAILABLE, _S.COMMITTED),
            (_S.RESERVED, _S.COMMITTED),
            (_S.BOUGHT_OUT, _S.COMMITTED),
        ),
        ((_S.VIRTUAL, _S.COMMITTED), (_S.CAMPAIGN, _S.COMMITTED)),
    ),
    _K.UNCOMMIT: KindRule(
        (
            (_S.COMMITTED, _S.AVAILABLE),
            (_S.COMMITTED, _S.RESERVED),
            (_S.COMMITTED, _S.BOUGHT_OUT),
        ),
        ((_S.COMMITTED, _S.VIRTUAL), (_S.COMMITTED, _S.CAMPAIGN)),
    ),
    _K.RETURN: KindRule(
        ((_S.CUSTOMER, _S.AVAILABLE), (_S.CUSTOMER, _S.UNSELLABLE)),
        ((_S.CUSTOMER, _S.VIRTUAL),),
    ),
    _K.WRITE_OFF: KindRule(
        (
            (_S.AVAILABLE, _S.STOCKTAKE),
            (_S.UNSELLABLE, _S.STOCKTAKE),
            (_S.LOCKED, _S.STOCKTAKE),
            (_S.RESERVED, _S.STOCKTAKE),
            (_S.BOUGHT_OUT, _S.STOCKTAKE),
        ),
        ((_S.IN_TRANSIT, _S.STOCKTAKE),),
        wants_reason=True,
    ),
    _K.EXPECT: KindRule(
        others=((_S.SUPPLIER, _S.IN_TRANSIT), (_S.IN_TRANSIT, _S.SUPPLIER)),
    ),
    _K.TRANSFER_OUT: KindRule(
        others=(
            (_S.AVAILABLE, _S.OUTGOING),
            (_S.OUTGOING, _S.AVAILABLE),
            (_S.OUTGOING, _S.TRANSFER),
            (_S.TRANSFER, _S.IN_TRANSIT),
        ),
    ),
    _K.TRANSFER_IN: KindRule(
        others=(
            (_S.IN_TRANSIT, _S.AVAILABLE),
            (_S.IN_TRANSIT, _S.UNSELLABLE),
            (_S.IN_TRANSIT, _S.VIRTUAL),
            (_S.IN_TRANSIT, _S.STOCKTAKE),
        ),
    ),
    _K.ALLOCATE: KindRule(
        others=(
            (_S.AVAILABLE, _S.CAMPAIGN),
            (_S.RESERVED, _S.CAMPAIGN),
            (_S.BOUGHT_OUT, _S.CAMPAIGN),
            (_S.VIRTUAL, _S.CAMPAIGN),
            (_S.LOCKED, _S.CAMPAIGN),
        ),
    ),
    _K.DEALLOCATE: KindRule(
        others=(
            (_S.CAMPAIGN, _S.AVAILABLE),
            (_S.CAMPAIGN, _S.UNSELLABLE),
            (_S.CAMPAIGN, _S.VIRTUAL),
        ),
    ),
    _K.SOLD_ELSEWHERE: KindRule(((_S.AVAILABLE, _S.ELSEWHERE),), wants_reason=True),
    _K.VIRTUAL: KindRule(
        others=((_S.VIRTUAL, _S.AVAILABLE), (_S.AVAILABLE, _S.VIRTUAL)),
    ),
    _K.RESERVE: KindRule(
        (
            (_S.AVAILABLE, _S.RESERVED),
            (_S.AVAILABLE, _S.BOUGHT_OUT),
            (_S.RESERVED, _S.AVAILABLE),
            (_S.BOUGHT_OUT, _S.AVAILABLE),
        ),
    ),
    _K.INSPECT: KindRule(((_S.AVAILABLE, _S.UNSELLABLE), (_S.UNSELLABLE, _S.AVAILABLE))),
}
"""All that may ever move. A counter-movement is of the same kind, the other way round."""
MANUAL_KINDS: Final = tuple(kind for kind, rule in KIND_RULES.items() if rule.manual)

DRAWABLE: Final = (
    StockState.AVAILABLE,
    StockState.RESERVED,
    StockState.BOUGHT_OUT,
    StockState.VIRTUAL,
)
"""What an order may draw on, in the order that is meant where none is set: never locked or
unsellable units."""


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
        asked: what was asked for, where the postings were worked out from what balances were at
            that moment: a repetition is then recognised by it, not by its postings.
    """

    id: str
    kind: MovementKind
    postings: tuple[Posting, ...]
    reason: str = ""
    reference: str = ""
    actor: str = ""
    asked: str = ""


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


def may_move(kind: MovementKind, source: StockState, target: StockState) -> bool:
    """Whether a kind knows this pair, or the opposite as a counter-movement."""
    rule = KIND_RULES[kind]
    pairs = (*rule.manual, *rule.others)
    return (source, target) in pairs or (target, source) in pairs


def manual_pair(
    kind: MovementKind, source: StockState | None, target: StockState | None
) -> Pair | None:
    """The first pair of a kind that fits what a person named; ``None``: none does."""
    for pair in KIND_RULES[kind].manual:
        if source in (None, pair[0]) and target in (None, pair[1]):
            return pair
    return None
