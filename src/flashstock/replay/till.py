"""The replay's own record of what it was told: what it bought, what was sent, what came back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
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
    """One reservation of an admitted cart. ``returned`` units of it are brought back.

    ``shipped`` is ``None`` where no answer told whether it was sent.
    """

    reservation: str
    pool: str
    buyer: str
    quantity: int
    told: Told = Told.HELD
    returned: int = 0
    payment_ref: str | None = None
    order_no: str | None = None
    shipped: int | None = 0

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
    """Purchases of the day, by buyer and pool."""

    def __init__(self) -> None:
        self._pools: list[str] = []
        self._purchases: list[Purchase] = []
        self._of_buyer: defaultdict[tuple[str, str], list[Purchase]] = defaultdict(list)
        self._uncertain: Counter[str] = Counter()

    @property
    def purchases(self) -> list[Purchase]:
        return self._purchases

    def open(self, pool: str) -> None:
        """The day sells from this pool, too."""
        self._pools.append(pool)

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

    def lose_track(self, pool: str, quantity: int) -> None:
        """A request about so many units was never answered, or its payment was refused."""
        self._uncertain[pool] += quantity

    def sold_units(self) -> int:
        """Units that were paid, those brought back later included."""
        return self.sold().total()

    def returned_units(self) -> int:
        """Units of today's sales that came back."""
        return sum(purchase.returned for purchase in self._purchases)

    def held(self) -> Counter[str]:
        """Units by pool that are held and not paid."""
        return self._units(Told.HELD)

    def sold(self) -> Counter[str]:
        """Units by pool that were paid, those brought back later included."""
        return self._units(Told.CONFIRMED)

    def shipped(self) -> Counter[str]:
        """Units by pool that were sent."""
        shipped: Counter[str] = Counter()
        for purchase in self._purchases:
            shipped[purchase.pool] += purchase.shipped or 0
        return shipped

    def returned(self) -> Counter[str]:
        """Units by pool that came back."""
        returned: Counter[str] = Counter()
        for purchase in self._purchases:
            returned[purchase.pool] += purchase.returned
        return returned

    def uncertain(self) -> Counter[str]:
        """Units by pool of which no answer told what became of them."""
        return self._uncertain

    def expected(self) -> list[PoolExpected]:
        """What every pool must come to when its campaign has ended: only what buyers have."""
        held, sold, returned = self.held(), self.sold(), self.returned()
        return [
            PoolExpected(
                pool=pool,
                total=held[pool] + sold[pool] - returned[pool],
                held=held[pool],
                sold=sold[pool] - returned[pool],
                uncertain=self._uncertain[pool],
            )
            for pool in self._pools
        ]

    def acknowledged(self) -> Iterator[Acknowledged]:
        """What every reservation must come to."""
        return (purchase.acknowledged() for purchase in self._purchases)

    def _units(self, told: Told) -> Counter[str]:
        units: Counter[str] = Counter()
        for purchase in self._purchases:
            if purchase.told is told:
                units[purchase.pool] += purchase.quantity
        return units
