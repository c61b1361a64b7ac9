"""The replay's own record of what it was told: what it bought, what it brought back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flashstock.client import Reservation
from flashstock.model.states import ReservationState
from flashstock.report.audit import Acknowledged, PoolExpected


class Told(StrEnum):
    """What the service last said about a line."""

    HELD = "held"
    CONFIRMED = "confirmed"
    NOTHING = "nothing"
    """Its payment was refused or never answered."""


ANY_STATE: Final = frozenset(ReservationState)


@dataclass(slots=True)
class Purchase:
    """One reservation of an admitted cart. ``returned`` units of it were brought back."""

    reservation: str
    pool: str
    buyer: str
    quantity: int
    told: Told = Told.HELD
    returned: int = 0
    payment_ref: str | None = None
    order_no: str | None = None

    def acknowledged(self) -> Acknowledged:
        """What must be found at the end."""
        return Acknowledged(
            reservation=self.reservation,
            pool=self.pool,
            buyer=self.buyer,
            quantity=self.quantity,
            states=self._states(),
            payment_ref=self.payment_ref,
            order_no=self.order_no,
            returned=None if self.told is Told.NOTHING else self.returned,
        )

    def _states(self) -> frozenset[ReservationState]:
        if self.told is Told.NOTHING:
            return ANY_STATE
        if self.told is Told.HELD:
            return frozenset({ReservationState.HELD})
        if self.returned == self.quantity:
            return frozenset({ReservationState.RETURNED})
        return frozenset({ReservationState.CONFIRMED})


class Till:
    """Purchases of the day, by buyer and pool.

    Args:
        stock: units each pool was opened with.
    """

    def __init__(self, stock: Mapping[str, int]) -> None:
        self._stock = dict(stock)
        self._purchases: list[Purchase] = []
        self._of_buyer: defaultdict[tuple[str, str], list[Purchase]] = defaultdict(list)
        self._booked_in: Counter[str] = Counter()
        self._uncertain: Counter[str] = Counter()

    @property
    def purchases(self) -> list[Purchase]:
        return self._purchases

    def take(self, reservation: Reservation) -> Purchase:
        """Record an acknowledged hold."""
        purchase = Purchase(
            reservation.id, reservation.pool, reservation.buyer, reservation.quantity
        )
        self._purchases.append(purchase)
        self._of_buyer[purchase.buyer, purchase.pool].append(purchase)
        return purchase

    def bring_back(self, buyer: str, pool: str, quantity: int) -> list[tuple[Purchase, int]]:
        """Take up to ``quantity`` units back from what the buyer bought here, latest first.

        The units count as returned from now on; ``keep`` undoes that for a refused return.
        What the list does not add up to was bought on an earlier day.
        """
        shares: list[tuple[Purchase, int]] = []
        for purchase in reversed(self._of_buyer.get((buyer, pool), [])):
            share = min(quantity, purchase.quantity - purchase.returned)
            if purchase.told is Told.CONFIRMED and share > 0:
                purchase.returned += share
                quantity -= share
                shares.append((purchase, share))
        return shares

    def keep(self, purchase: Purchase, quantity: int) -> None:
        """The return was refused: the units are still sold."""
        purchase.returned -= quantity

    def book_in(self, pool: str, quantity: int) -> None:
        """Units of an earlier day's sale came back into the pool."""
        self._booked_in[pool] += quantity

    def lose_track(self, pool: str, quantity: int) -> None:
        """A request about so many units was never answered, or its payment was refused."""
        self._uncertain[pool] += quantity

    def sold_units(self) -> int:
        """Units that were paid, those brought back later included."""
        return sum(
            purchase.quantity for purchase in self._purchases if purchase.told is Told.CONFIRMED
        )

    def returned_units(self) -> int:
        """Units that came back, of today's sales and of earlier ones."""
        return sum(purchase.returned for purchase in self._purchases) + self.booked_in_units()

    def booked_in_units(self) -> int:
        """Units that came back from earlier days' sales."""
        return self._booked_in.total()

    def expected(self) -> list[PoolExpected]:
        """What every pool must come to."""
        held: Counter[str] = Counter()
        sold: Counter[str] = Counter()
        for purchase in self._purchases:
            if purchase.told is Told.HELD:
                held[purchase.pool] += purchase.quantity
            elif purchase.told is Told.CONFIRMED:
                sold[purchase.pool] += purchase.quantity - purchase.returned
        return [
            PoolExpected(
                pool=pool,
                total=units + self._booked_in[pool],
                held=held[pool],
                sold=sold[pool],
                uncertain=self._uncertain[pool],
            )
            for pool, units in self._stock.items()
        ]

    def acknowledged(self) -> Iterator[Acknowledged]:
        """What every reservation must come to."""
        return (purchase.acknowledged() for purchase in self._purchases)
