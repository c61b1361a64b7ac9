"""From rows to a day of carts and returns, and the stock it is played against; pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import groupby
from math import ceil
from typing import Final, NamedTuple

from flashstock.model.ids import digest_of
from flashstock.model.rules import POOL_QUANTITY_MAX, QUANTITY_MAX
from flashstock.replay.rows import BadRow, Row

GOODS: Final = re.compile(r"\d{5}|DCGS")
"""How the code of a product begins: five digits, or the house's own boxed goods. What else there
is (POST, DOT, D, M, C2, S, B, CRUK, BANK CHARGES, AMAZONFEE, gift vouchers …) is a service, a fee
or a booking: it has no stock."""
SAFE_IN_POOL_ID: Final = re.compile(r"[^A-Za-z0-9._-]")
SKU_IN_POOL_ID_MAX: Final = 36


class SkuLine(NamedTuple):
    """Units of one SKU on an invoice, and the row that says so."""

    sku: str
    quantity: int


@dataclass(slots=True)
class PlannedCart:
    """A checkout: every line or none. The same SKU may stand there twice."""

    invoice: str
    buyer: str
    at: datetime
    country: str = ""
    lines: list[SkuLine] = field(default_factory=list)


class PlannedReturn(NamedTuple):
    """Units that came back; ``quantity`` is positive. ``number`` tells rows of an invoice apart."""

    invoice: str
    number: int
    buyer: str
    at: datetime
    sku: str
    quantity: int


@dataclass(slots=True)
class Goods:
    """What the file tells of a SKU. The price, in the smallest unit, is the first it sold for."""

    title: str = ""
    price_minor: int = 0


class Minute(NamedTuple):
    """What came in within one minute: first its carts, all at once, then its returns."""

    at: datetime
    carts: list[PlannedCart]
    returns: list[PlannedReturn]


@dataclass(slots=True)
class Day:
    """A trading day, ready to be played.

    ``rows`` is the number of records in the file; each is a line of a cart, a return, or skipped.
    """

    rows: int = 0
    carts: list[PlannedCart] = field(default_factory=list)
    returns: list[PlannedReturn] = field(default_factory=list)
    goods: dict[str, Goods] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)

    def demand(self) -> Counter[str]:
        """Units asked for by SKU; a SKU that only comes back is there with 0."""
        demand = Counter({returned.sku: 0 for returned in self.returns})
        for cart in self.carts:
            for line in cart.lines:
                demand[line.sku] += line.quantity
        return demand

    def countries(self) -> Counter[str]:
        """Carts by the country they go to."""
        return Counter(cart.country for cart in self.carts if cart.country)

    def stock(self, ratio: Fraction) -> dict[str, int]:
        """Units to open each SKU with: its share of the demand, rounded up."""
        return {
            sku: min(POOL_QUANTITY_MAX, ceil(ratio * demand))
            for sku, demand in sorted(self.demand().items())
        }

    def minutes(self) -> Iterator[Minute]:
        """The day in order. Within a minute the order of the file is kept, carts before returns:
        what is sold and brought back in the same minute can only have happened so.
        """
        events: list[PlannedCart | PlannedReturn] = [*self.carts, *self.returns]
        events.sort(key=lambda event: event.at)
        for at, together in groupby(events, key=lambda event: _minute_of(event.at)):
            minute = Minute(at, [], [])
            for event in together:
                if isinstance(event, PlannedCart):
                    minute.carts.append(event)
                else:
                    minute.returns.append(event)
            yield minute


def plan_day(rows: Iterable[Row | BadRow]) -> Day:
    """Sort rows into carts, returns and what is skipped with a reason.

    Reasons: those of ``BadRow``; ``not_goods`` (postage, fees, bookings), ``correction`` (a
    negative quantity that is no return, or a return of nothing), ``no_quantity``, ``no_price``
    (not sellable), ``quantity_too_large`` (beyond what one reservation may hold).
    """
    day = Day()
    carts: dict[str, PlannedCart] = {}
    for row in rows:
        day.rows += 1
        reason = row.reason if isinstance(row, BadRow) else _reason_to_skip(row)
        if reason is not None:
            day.skipped[reason] += 1
        elif isinstance(row, Row) and row.quantity < 0:
            sku = sku_of(row.stock_code)
            _note_goods(day.goods, sku, row)
            buyer = row.buyer or guest(row.invoice)
            day.returns.append(
                PlannedReturn(row.invoice, row.line, buyer, row.at, sku, -row.quantity)
            )
        elif isinstance(row, Row):
            cart = carts.get(row.invoice)
            if cart is None:
                buyer = row.buyer or guest(row.invoice)
                cart = PlannedCart(row.invoice, buyer, row.at, row.country)
                carts[row.invoice] = cart
            sku = sku_of(row.stock_code)
            _note_goods(day.goods, sku, row)
            cart.lines.append(SkuLine(sku, row.quantity))
    day.carts = list(carts.values())
    return day


def _note_goods(goods: dict[str, Goods], sku: str, row: Row) -> None:
    known = goods.setdefault(sku, Goods())
    known.title = known.title or row.description
    if row.quantity > 0 and not known.price_minor:
        known.price_minor = round(row.unit_price * 100)


def _reason_to_skip(row: Row) -> str | None:
    if GOODS.match(sku_of(row.stock_code)) is None:
        return "not_goods"
    if abs(row.quantity) > QUANTITY_MAX:
        return "quantity_too_large"
    if row.quantity == 0:
        return "no_quantity"
    if is_return(row.invoice) != (row.quantity < 0):
        return "correction"
    if row.quantity > 0 and row.unit_price <= 0:
        return "no_price"
    return None


def is_return(invoice: str) -> bool:
    """Cancellations carry a ``C`` before their number."""
    return invoice[:1] in {"C", "c"}


def sku_of(stock_code: str) -> str:
    """One SKU has one spelling: the shop's tills wrote ``15056BL`` and ``15056bl``."""
    return stock_code.strip().upper()


def guest(invoice: str) -> str:
    """A buyer without an account is a stranger each time."""
    return f"guest-{invoice}"


def name_of(run: str, sku: str) -> str:
    """A name that no other SKU and no other run shares, and that a person can read.

    It is good for a SKU of the book and for a pool.

    A SKU with characters that an id can't hold gets a digest, so that two of them never meet.
    """
    safe = SAFE_IN_POOL_ID.sub("_", sku)[:SKU_IN_POOL_ID_MAX]
    if safe != sku:
        safe = f"{safe}_{digest_of(sku)[:8]}"
    return f"{run}-{safe}"


def _minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def lines_in(carts: Sequence[PlannedCart]) -> int:
    """Rows that became lines of these carts."""
    return sum(len(cart.lines) for cart in carts)
