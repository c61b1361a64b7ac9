"""The check of the stock book that trusts nobody: what came and left, by the answers alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flashstock.client import Balance, Order
from flashstock.replay.till import Till, Told


@dataclass(frozen=True, slots=True)
class SkuExpected:
    """Where the units of a SKU must be when the day is over.

    Args:
        on_hand: received, less what left, and what came back.
        campaign: bought or held, and not sent.
        unsellable: came back from an earlier day, to be looked at.
        uncertain: units whose fate no answer told; by so many each may differ.
    """

    on_hand: int
    campaign: int
    unsellable: int
    uncertain: int = 0

    @property
    def available(self) -> int:
        """What is on hand and nobody's."""
        return self.on_hand - self.campaign - self.unsellable


@dataclass(slots=True)
class Account:
    """Units by SKU of the file, counted from what was acknowledged.

    Args:
        till: knows the rest, by pool.
    """

    till: Till
    pools: dict[str, str] = field(default_factory=dict)
    """SKU → the pool it is sold from."""
    received: Counter[str] = field(default_factory=Counter)
    allocated: Counter[str] = field(default_factory=Counter)
    of_earlier_days: Counter[str] = field(default_factory=Counter)
    """Units that came back and were not sold today."""
    uncertain: Counter[str] = field(default_factory=Counter)

    def open(self, sku: str, pool: str, units: int) -> None:
        """A SKU is sold from this pool, with so many units."""
        self.pools[sku] = pool
        self.allocated[sku] += units
        self.till.open(pool)

    def returned_units(self) -> int:
        """Units that came back, of today's sales and of earlier ones."""
        return self.till.returned_units() + self.of_earlier_days.total()

    def expected(self) -> dict[str, SkuExpected]:
        """What the book must say of every SKU once the campaigns have ended."""
        till = self.till
        held, sold, shipped, returned, uncertain = (
            till.held(),
            till.sold(),
            till.shipped(),
            till.returned(),
            till.uncertain(),
        )
        result = {}
        for sku in sorted({*self.received, *self.pools, *self.of_earlier_days, *self.uncertain}):
            pool = self.pools.get(sku, "")
            came_back = returned[pool] + self.of_earlier_days[sku]
            result[sku] = SkuExpected(
                on_hand=self.received[sku] - shipped[pool] + came_back,
                campaign=held[pool] + sold[pool] - shipped[pool],
                unsellable=self.of_earlier_days[sku],
                uncertain=self.uncertain[sku] + uncertain[pool],
            )
        return result

    def left_units(self) -> int:
        """Units that must be on hand at the end."""
        return sum(expected.on_hand for expected in self.expected().values())


@dataclass(slots=True)
class BookFindings:
    """What the comparison with the book found; ``described`` in words, all of it."""

    skus_checked: int = 0
    orders_checked: int = 0
    on_hand: int = 0
    described: list[str] = field(default_factory=list)


def compare_balances(
    account: Account, names: Mapping[str, str], balances: Iterable[Balance], found: BookFindings
) -> None:
    """Hold the book's balances against what was acknowledged, SKU by SKU and in all.

    Args:
        names: SKU of the file → what the book calls it.
        balances: of every location of the run.
    """
    here: dict[str, Counter[str]] = {}
    for balance in balances:
        units = here.setdefault(balance.sku, Counter())
        units["on hand"] += balance.on_hand
        units["in campaigns"] += balance.campaign
        units["unsellable"] += balance.unsellable
        units["available"] += balance.available
        found.on_hand += balance.on_hand
    expected = account.expected()
    for sku, right in expected.items():
        found.skus_checked += 1
        received, allocated = account.received[sku], account.allocated[sku]
        if allocated != received:
            found.described.append(
                f"stock book: {sku}: {received} units received, {allocated} for sale"
            )
        units = here.pop(names[sku], Counter())
        for name, should in (
            ("on hand", right.on_hand),
            ("in campaigns", right.campaign),
            ("unsellable", right.unsellable),
            ("available", right.available),
        ):
            if abs(units[name] - should) > right.uncertain:
                found.described.append(
                    f"stock book: {sku}: {units[name]} units {name}, by the answers {should}"
                )
    for name, units in here.items():
        if units["on hand"]:
            found.described.append(f"stock book: {name}: {units['on hand']} units nobody received")
    left, tolerance = account.left_units(), sum(right.uncertain for right in expected.values())
    if abs(found.on_hand - left) > tolerance:
        found.described.append(
            f"stock book: {found.on_hand} units on hand in all, by the answers {left}"
        )


def compare_orders(till: Till, orders: Iterable[Order], found: BookFindings) -> None:
    """Hold every order against what was acknowledged of it."""
    by_number = {order.order_no: order for order in orders}
    for purchase in till.purchases:
        if purchase.told is not Told.CONFIRMED or purchase.order_no is None:
            continue
        found.orders_checked += 1
        order = by_number.get(purchase.order_no)
        if order is None:
            found.described.append(f"order {purchase.order_no}: was paid, and is not on record")
            continue
        said = (purchase.pool, purchase.quantity, purchase.shipped, purchase.returned)
        has = (order.pool, order.quantity, order.shipped, order.returned)
        if purchase.shipped is not None and has != said:
            found.described.append(
                f"order {purchase.order_no}: pool, units, sent, back {has}, by the answers {said}"
            )
