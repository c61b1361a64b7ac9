"""Who may show how much of a SKU: pure arithmetic over one moment's stock.

Two kinds of shops share a stock. Shops *by weight* divide it: their numbers add up to exactly
what is there, so they can't oversell together. Shops in mode *shared* all show the whole of it,
which is better in a burst; the low-water rule leaves the last units to one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class ChannelMode(StrEnum):
    """How a shop takes part in the stock."""

    WEIGHT = "weight"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Shop:
    """A channel, as far as the numbers depend on it. No locations: it sells from all of them."""

    id: str
    mode: ChannelMode
    weight: int
    priority: int
    locations: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one SKU: its own row, or the company's.

    Args:
        mode: replaces the mode of every shop; ``None`` leaves each its own.
        low_water: below this many units only ``low_water_channel`` shows any; 0 is no such rule.
        weights: replaces the weights of the shops it names.
    """

    mode: ChannelMode | None = None
    low_water: int = 0
    low_water_channel: str | None = None
    weights: Mapping[str, int] = field(default_factory=dict)


def divide(quantity: int, weights: Sequence[int]) -> list[int]:
    """Whole parts in proportion to the weights: their sum is ``quantity``, unless all weigh 0.

    By largest remainder: each part is its exact share rounded down or up. Of equal remainders the
    earlier one is rounded up.
    """
    total = sum(weights)
    if total == 0:
        return [0] * len(weights)
    parts = [quantity * weight // total for weight in weights]
    remainders = [quantity * weight % total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda number: (-remainders[number], number))
    for number in by_remainder[: quantity - sum(parts)]:
        parts[number] += 1
    return parts


def shares(
    stock: Mapping[str, int], safety_stock: int, shops: Sequence[Shop], policy: Policy
) -> dict[str, int]:
    """What each shop may show of one SKU.

    Args:
        stock: available units by location.
        safety_stock: kept back; where less is left, nothing is shown.

    Shops by weight with different locations divide each group of locations among those who sell
    from it, so a unit is never shown by two of them. The safety stock is kept back in each group.
    """
    modes = {shop.id: policy.mode or shop.mode for shop in shops}
    by_weight = [shop for shop in shops if modes[shop.id] is ChannelMode.WEIGHT]
    shared = [shop for shop in shops if modes[shop.id] is ChannelMode.SHARED]
    numbers = dict.fromkeys((shop.id for shop in shops), 0)
    keeper = next((shop for shop in shops if shop.id == policy.low_water_channel), None)
    if shared and keeper is not None and _left(stock.values(), safety_stock) < policy.low_water:
        numbers[keeper.id] = _left(_seen(stock, keeper), safety_stock)
        return numbers
    for shop in shared:
        numbers[shop.id] = _left(_seen(stock, shop), safety_stock)
    for sellers, quantity in _groups(stock, by_weight).items():
        weights = [policy.weights.get(shop.id, shop.weight) for shop in sellers]
        parts = divide(_left([quantity], safety_stock), weights)
        for shop, part in zip(sellers, parts, strict=True):
            numbers[shop.id] += part
    return numbers


def _left(quantities: Iterable[int], safety_stock: int) -> int:
    return max(0, sum(quantities) - safety_stock)


def _seen(stock: Mapping[str, int], shop: Shop) -> list[int]:
    return [units for place, units in stock.items() if _sells_from(shop, place)]


def _sells_from(shop: Shop, location: str) -> bool:
    return not shop.locations or location in shop.locations


def _groups(stock: Mapping[str, int], shops: Sequence[Shop]) -> dict[tuple[Shop, ...], int]:
    """Units by who sells them, the sellers in the order in which remainders are given out."""
    ordered = sorted(shops, key=lambda shop: (shop.priority, shop.id))
    groups: dict[tuple[Shop, ...], int] = defaultdict(int)
    for location, units in stock.items():
        groups[tuple(shop for shop in ordered if _sells_from(shop, location))] += units
    return groups
