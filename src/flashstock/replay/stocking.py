"""How the day's stock comes into the book: what is received where, and set aside by which
campaigns; pure.

Every SKU and location of a run has a name of its own, so that runs never share a unit and each can
be proved by itself, on a service with other stock, too.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from flashstock.client import CampaignItem, StockLine
from flashstock.replay.plan import Day, Goods, name_of

CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
LINES_MAX: Final = 250
"""Lines of a movement, at most."""
ITEMS_MAX: Final = 100
"""Items of a campaign, at most."""
REGIONS_MAX: Final = 1_000
REGION_LENGTH_MAX: Final = 64
TEXT_LENGTH_MAX: Final = 500
SPU_LENGTH_MAX: Final = 128
PRICE_MINOR_MAX: Final = 1_000_000_000_000
IN_STORE: Final = 3
"""One unit in so many is received at the store, rounded down; the others at the warehouse."""

_Part = TypeVar("_Part")


class Split(NamedTuple):
    """Units of a SKU by location."""

    warehouse: int
    store: int


class LocationPlan(NamedTuple):
    """A location to make; ``regions`` has the level at which it serves each."""

    code: str
    kind: str
    priority: int
    regions: dict[str, int]


@dataclass(frozen=True, slots=True)
class Stocking:
    """What is to be in the book before the day begins.

    Args:
        units: units to receive, by SKU of the file; SKUs of which nothing is received are there
            with 0.
        asked: SKUs that a cart asks for.
        home: the country that most carts go to; empty where no cart names one.
    """

    run: str
    units: Mapping[str, int]
    asked: frozenset[str]
    goods: Mapping[str, Goods]
    countries: tuple[str, ...]

    @property
    def warehouse(self) -> str:
        return f"{self.run}-warehouse"

    @property
    def store(self) -> str:
        return f"{self.run}-store"

    def name(self, sku: str) -> str:
        """What a SKU of the file is called in the book."""
        return name_of(self.run, sku)

    def locations(self) -> tuple[LocationPlan, LocationPlan]:
        """The store serves the home country fastest and no other; the warehouse serves all."""
        home, abroad = self.countries[:1], self.countries[1:REGIONS_MAX]
        everywhere = dict.fromkeys(home, 2) | dict.fromkeys(abroad, 1)
        return (
            LocationPlan(self.warehouse, "warehouse", 1, everywhere),
            LocationPlan(self.store, "store", 2, dict.fromkeys(home, 1)),
        )

    def sku_file(self) -> bytes:
        """Every SKU with its title and price, as `POST /v1/imports/skus` takes it."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(("sku", "spu", "title", "price_minor"))
        for sku in self.units:
            goods = self.goods.get(sku, Goods())
            price_minor = min(goods.price_minor, PRICE_MINOR_MAX)
            spu, title = plain(sku, SPU_LENGTH_MAX), plain(goods.title, TEXT_LENGTH_MAX)
            writer.writerow((self.name(sku), spu, title, price_minor))
        return text.getvalue().encode()

    def receipts(self) -> Iterator[tuple[StockLine, ...]]:
        """The lines of every movement that receives stock."""
        return _parts(self._received(), LINES_MAX)

    def _received(self) -> Iterator[StockLine]:
        for sku, units in self.units.items():
            split = split_of(units)
            for location, quantity in (
                (self.warehouse, split.warehouse),
                (self.store, split.store),
            ):
                if quantity:
                    yield StockLine(self.name(sku), location, quantity)

    def campaigns(self) -> Iterator[tuple[CampaignItem, ...]]:
        """The items of every campaign: all that is received is set aside."""
        items = (CampaignItem(self.name(sku), units) for sku, units in self.units.items() if units)
        return _parts(items, ITEMS_MAX)

    def never_received(self) -> list[str]:
        """SKUs that buyers will ask for in vain: no campaign can sell nothing."""
        return [sku for sku, units in self.units.items() if not units and sku in self.asked]


def plan_stocking(run: str, day: Day, ratio: Fraction) -> Stocking:
    """The stock of a day at a share of its demand. The same day gives the same plan."""
    countries = sorted(day.countries().items(), key=lambda pair: (-pair[1], pair[0]))
    regions = dict.fromkeys(region_of(country) for country, _ in countries)
    return Stocking(
        run=run,
        units=day.stock(ratio),
        asked=frozenset(line.sku for cart in day.carts for line in cart.lines),
        goods=day.goods,
        countries=tuple(region for region in regions if region),
    )


def split_of(units: int) -> Split:
    """Where units of a SKU are received. No unit is lost by rounding."""
    store = units // IN_STORE
    return Split(units - store, store)


def region_of(country: str) -> str:
    """A country as a region of a location."""
    return plain(country, REGION_LENGTH_MAX)


def plain(text: str, length_max: int) -> str:
    """Text without control characters, cut to a length."""
    return CONTROLS.sub(" ", text).strip()[:length_max].strip()


def parts_of(rows: Sequence[_Part], size: int) -> list[tuple[_Part, ...]]:
    """Rows in parts of at most ``size``, in order."""
    return list(_parts(rows, size))


def _parts(rows: Iterable[_Part], size: int) -> Iterator[tuple[_Part, ...]]:
    left = iter(rows)
    while part := tuple(islice(left, size)):
        yield part
