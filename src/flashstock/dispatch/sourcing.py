"""Sourcing: from where an order is sent. Pure: what is where goes in, parcels come out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, TypeVar

from flashstock.errors import InsufficientStock, SplitNeeded

Item = TypeVar("Item")
"""What is counted: a SKU, or a SKU of a pool."""
Stock = Mapping[str, Mapping[Item, int]]
"""Units by location and item."""
Parcels = dict[str, dict[Item, int]]
"""What each location sends, the best location first."""

TRIED_PARCELS_MAX: Final = 3
TRIED_LOCATIONS_MAX: Final = 24
"""Up to this size the fewest parcels are found by trying; 2,024 ways to choose 3 of 24."""


@dataclass(frozen=True, slots=True)
class Place:
    """A location: ``priority``, lower comes first; ``levels`` by region, 1 is the fastest."""

    code: str
    priority: int
    levels: Mapping[str, int] = field(default_factory=dict)


def ranked(
    places: Iterable[Place], region: str | None = None, mapped: Collection[str] = ()
) -> list[str]:
    """The locations an order may come from, the best first.

    Where its shop is mapped to locations, only those: the mapping wins over the region. Among
    them by the level at which they serve the region, those that don't serve it last; then by
    priority, then by code.
    """

    def rank(place: Place) -> tuple[bool, int, int, str]:
        level = place.levels.get(region) if region is not None else None
        return level is None, level or 0, place.priority, place.code

    allowed = [place for place in places if not mapped or place.code in mapped]
    return [place.code for place in sorted(allowed, key=rank)]


def plan(
    wanted: Mapping[Item, int],
    stock: Stock[Item],
    ranking: Sequence[str],
    *,
    allow_split: bool = True,
) -> Parcels[Item]:
    """Parcels that hold exactly what is wanted, none more than is at its location.

    The best location that has everything sends it alone. Where none has, the fewest parcels win:
    two or three by trying all ways in order of rank, so that the better locations are chosen; more
    than that greedily, each time the location that has most of what is still missing. Within the
    chosen locations the best one gives all it can.

    Args:
        ranking: the locations that may be used, the best first.

    Raises:
        InsufficientStock: all of them together have too little; ``missing`` says of what.
        SplitNeeded: together they have enough, but none alone, and it may not be split.
    """
    needed = {item: units for item, units in wanted.items() if units > 0}
    here = [code for code in dict.fromkeys(ranking) if _gives(stock, code, needed)]
    _refuse_shortage(needed, stock, here)
    if not needed:
        return {}
    for code in here:
        if _cover([code], needed, stock):
            return {code: needed}
    if not allow_split:
        raise SplitNeeded(f"no single location has everything; {len(here)} have some of it")
    chosen = next(_fewest(here, needed, stock), None)
    return _filled(chosen or _greedy(here, needed, stock), needed, stock)


def _has(stock: Stock[Item], code: str, item: Item) -> int:
    return max(0, stock.get(code, {}).get(item, 0))


def _gives(stock: Stock[Item], code: str, needed: Mapping[Item, int]) -> int:
    """How many of the units that are needed the location has."""
    return sum(min(units, _has(stock, code, item)) for item, units in needed.items())


def _cover(codes: Iterable[str], needed: Mapping[Item, int], stock: Stock[Item]) -> bool:
    codes = tuple(codes)
    return all(
        sum(_has(stock, code, item) for code in codes) >= units for item, units in needed.items()
    )


def _refuse_shortage(needed: Mapping[Item, int], stock: Stock[Item], codes: list[str]) -> None:
    missing = {}
    for item, units in needed.items():
        there = sum(_has(stock, code, item) for code in codes)
        if there < units:
            missing[item] = units - there
    if missing:
        raise InsufficientStock("there is too little where it could be sent from", missing=missing)


def _fewest(
    here: list[str], needed: Mapping[Item, int], stock: Stock[Item]
) -> Iterator[Sequence[str]]:
    """Every smallest set of locations that has everything, in order of rank, as far as tried."""
    if len(here) > TRIED_LOCATIONS_MAX:
        return
    for size in range(2, TRIED_PARCELS_MAX + 1):
        for codes in combinations(here, size):
            if _cover(codes, needed, stock):
                yield codes


def _greedy(here: list[str], needed: Mapping[Item, int], stock: Stock[Item]) -> list[str]:
    rest = dict(needed)
    chosen: list[str] = []
    while rest:
        left = [code for code in here if code not in chosen]
        best = max(left, key=lambda code: (_gives(stock, code, rest), -here.index(code)))
        chosen.append(best)
        rest = {
            item: units - _has(stock, best, item)
            for item, units in rest.items()
            if units > _has(stock, best, item)
        }
    for code in reversed(chosen):
        others = [other for other in chosen if other != code]
        if _cover(others, needed, stock):
            chosen = others
    return sorted(chosen, key=here.index)


def _filled(codes: Sequence[str], needed: Mapping[Item, int], stock: Stock[Item]) -> Parcels[Item]:
    rest = dict(needed)
    parcels: Parcels[Item] = {}
    for code in codes:
        taken = {item: min(units, _has(stock, code, item)) for item, units in rest.items()}
        parcel = {item: units for item, units in taken.items() if units}
        if parcel:
            parcels[code] = parcel
        rest = {item: units - taken[item] for item, units in rest.items()}
    return parcels
