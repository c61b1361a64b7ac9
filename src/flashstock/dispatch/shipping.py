"""Shipping: units leave for a buyer, in one transaction, and no unit leaves twice.

The transaction locks the book before it looks. So of two that ship the same order the second one
sees what the first one sent, and between the plan and the movement nothing changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.dispatch.commands import Command, begin
from flashstock.dispatch.contents import (
    Component,
    allotments,
    check_location,
    components,
    gifts_of,
    physical_stock,
    places,
    said_by_sku,
    take,
)
from flashstock.dispatch.orders import Sale, SaleState, sale_of
from flashstock.dispatch.progress import advance
from flashstock.dispatch.snapshots import snapshot_of
from flashstock.dispatch.sourcing import Parcels, plan, ranked
from flashstock.dispatch.tables import order_shipment_lines, order_shipments
from flashstock.errors import InsufficientStock, InvalidRequest, NotShippable
from flashstock.ledger.engine import writing
from flashstock.model.ids import digest_of
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, lock_book, post

ShopLocations = Callable[[AsyncConnection, str], Awaitable[Collection[str]]]
"""The locations a shop is mapped to; ``channels`` has it. Raises ``UnknownChannel``."""


@dataclass(frozen=True, slots=True)
class ParcelWanted:
    """A parcel as somebody has packed it: units by SKU."""

    location: str
    lines: Mapping[str, int]
    tracking: str = ""
    carrier: str = ""


@dataclass(frozen=True, slots=True)
class ShipOrder:
    """What to send.

    Args:
        quantity: units of the order; ``None`` is all that are left.
        location: send from there and nowhere else.
        channel: the shop it was sold in: where that is mapped to locations, only from those.
        parcels: packed already: they must hold exactly what is to be sent.
        merge: further orders of the same buyer that go with it, each as a whole.
    """

    command_id: str
    actor: str
    order_no: str
    quantity: int | None = None
    region: str | None = None
    location: str | None = None
    channel: str | None = None
    allow_split: bool = True
    tracking: str = ""
    carrier: str = ""
    parcels: tuple[ParcelWanted, ...] = ()
    merge: tuple[str, ...] = ()

    def command(self) -> Command:
        """As it is noted, and recognised when it is repeated."""
        packed = [
            [parcel.location, dict(parcel.lines), parcel.tracking, parcel.carrier]
            for parcel in self.parcels
        ]
        where = [self.region, self.location, self.channel, self.allow_split]
        payload = [self.quantity, where, self.tracking, self.carrier, packed, list(self.merge)]
        return Command(self.command_id, "ship", self.order_no, self.actor, payload)


@dataclass(frozen=True, slots=True)
class _Part:
    """What is sent of one order."""

    sale: Sale
    quantity: int
    needs: Mapping[Component, int]


class Shipping:
    """Sends orders.

    Args:
        clock: ms since the epoch.
        shop_locations: where a shop is served from.
    """

    def __init__(
        self, engine: AsyncEngine, clock: Callable[[], int], shop_locations: ShopLocations
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._shop_locations = shop_locations

    async def ship(self, wanted: ShipOrder) -> bool:
        """Send an order, or a part of it, with its gifts. Repeating the call sends nothing more.

        Returns:
            False where this very call was made before.

        Raises:
            UnknownOrder, UnknownLocation, UnknownChannel: it names what is not there.
            NotShippable: nothing of it may be sent; ``state`` says why.
            InsufficientStock: what would have to be sent is not there (or has not arrived);
                ``missing`` says how much of what.
            SplitNeeded: it takes several parcels, and may not be split.
            InvalidRequest: it asks for more than is left, or the parcels hold something else.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            sale = await sale_of(connection, wanted.order_no)
            now_ms = self._clock()
            if not await begin(connection, wanted.command(), now_ms):
                return False
            parts = await _parts(connection, sale, wanted)
            parcels = await self._parcels(connection, parts, wanted)
            await _move(connection, wanted, parcels, now_ms)
            await take(connection, parcels)
            await _record(connection, wanted, parcels, parts, now_ms)
            for part in parts:
                await advance(
                    connection,
                    part.sale.order_no,
                    now_ms,
                    shipped=part.quantity,
                    shipped_at_ms=now_ms,
                )
        return True

    async def _parcels(
        self, connection: AsyncConnection, parts: Sequence[_Part], wanted: ShipOrder
    ) -> Parcels[Component]:
        needs: dict[Component, int] = defaultdict(int)
        for part in parts:
            for component, units in part.needs.items():
                needs[component] += units
        found = await allotments(connection, [component.pool for component in needs])
        stock = await physical_stock(connection, found, needs)
        for parcel in wanted.parcels:
            await check_location(connection, parcel.location)
        try:
            if wanted.parcels:
                return _packed(wanted.parcels, needs, stock)
            ranking = await self._ranking(connection, wanted)
            return plan(needs, stock, ranking, allow_split=wanted.allow_split)
        except InsufficientStock as shortage:
            raise said_by_sku(wanted.order_no, shortage) from None

    async def _ranking(self, connection: AsyncConnection, wanted: ShipOrder) -> list[str]:
        if wanted.location is not None:
            await check_location(connection, wanted.location)
            return [wanted.location]
        mapped: Collection[str] = ()
        if wanted.channel is not None:
            mapped = await self._shop_locations(connection, wanted.channel)
        return ranked(await places(connection), wanted.region, mapped)


async def _parts(connection: AsyncConnection, sale: Sale, wanted: ShipOrder) -> list[_Part]:
    """The order and what goes with it: merged orders of its buyer, gifts of either."""
    _refuse_unshippable(sale)
    quantity = sale.to_ship if wanted.quantity is None else wanted.quantity
    if quantity > sale.to_ship:
        raise InvalidRequest(f"quantity: {sale.to_ship} units of the order are left to be sent")
    sent = [(sale, quantity)]
    for order_no in dict.fromkeys(wanted.merge):
        other = await sale_of(connection, order_no)
        _refuse_unmergeable(sale, other)
        sent.append((other, other.to_ship))
    for paid, _ in sent:
        await _refuse_unpaid(connection, paid)
    for with_gifts, _ in tuple(sent):
        known = {part.order_no for part, _ in sent}
        sent += [
            (gift, gift.to_ship)
            for gift in await gifts_of(connection, with_gifts.order_no)
            if gift.order_no not in known and gift.state is SaleState.PAID and gift.to_ship
        ]
    names = {part.pool for part, _ in sent}
    per_unit = await components(connection, names, await allotments(connection, names))
    return [
        _Part(part, units, {name: each * units for name, each in per_unit[part.pool].items()})
        for part, units in sent
    ]


def _refuse_unshippable(sale: Sale) -> None:
    if sale.state is not SaleState.PAID or not sale.to_ship:
        raise NotShippable(
            f"order {sale.order_no} is {sale.state}", order_no=sale.order_no, state=sale.state.value
        )


async def _refuse_unpaid(connection: AsyncConnection, sale: Sale) -> None:
    snapshot = await snapshot_of(connection, sale)
    if snapshot is not None and snapshot.balance_due_minor:
        raise NotShippable(
            f"the balance of presale order {sale.order_no} is not paid",
            order_no=sale.order_no,
            state=sale.state.value,
            balance_due_minor=snapshot.balance_due_minor,
            currency=snapshot.currency,
        )


def _refuse_unmergeable(sale: Sale, other: Sale) -> None:
    _refuse_unshippable(other)
    if other.order_no == sale.order_no or other.buyer != sale.buyer:
        raise InvalidRequest(f"merge: {other.order_no} is no other order of the same buyer")
    if sale.audited_at_ms is not None or other.audited_at_ms is not None:
        raise NotShippable(
            "an order that was audited is sent by itself",
            order_no=other.order_no,
            state=other.state.value,
        )


def _packed(
    parcels: Sequence[ParcelWanted],
    needs: Mapping[Component, int],
    stock: Mapping[str, Mapping[Component, int]],
) -> Parcels[Component]:
    """Which components the SKUs of the packed parcels are."""
    rest = dict(needs)
    packed: Parcels[Component] = {}
    for parcel in parcels:
        if parcel.location in packed:
            raise InvalidRequest(f"parcels: {parcel.location!r} is named twice")
        taken: dict[Component, int] = {}
        for sku, units in parcel.lines.items():
            left = units
            for component in [name for name in rest if name.sku == sku]:
                there = stock.get(parcel.location, {}).get(component, 0)
                taken[component] = min(left, rest[component], there)
                rest[component] -= taken[component]
                left -= taken[component]
            if left:
                _refuse_packed(parcel.location, sku, left, rest)
        packed[parcel.location] = {name: units for name, units in taken.items() if units}
    if any(rest.values()):
        raise InvalidRequest("parcels: hold less than is to be sent; say `quantity` for a part")
    return packed


def _refuse_packed(location: str, sku: str, units: int, rest: Mapping[Component, int]) -> None:
    wanting = [component for component, left in rest.items() if component.sku == sku and left]
    if not wanting:
        raise InvalidRequest(f"parcels: {units} units of {sku!r} more than are to be sent")
    raise InsufficientStock(f"{location!r} has too little of {sku!r}", missing={wanting[0]: units})


async def _move(
    connection: AsyncConnection, wanted: ShipOrder, parcels: Parcels[Component], now_ms: int
) -> None:
    """Post the two movements: set aside → committed → with the customer."""
    units: dict[tuple[str, str], int] = defaultdict(int)
    for location, parcel in parcels.items():
        for component, quantity in parcel.items():
            units[component.sku, location] += quantity
    steps = (
        (MovementKind.COMMIT, StockState.CAMPAIGN, StockState.COMMITTED),
        (MovementKind.SHIP, StockState.COMMITTED, StockState.CUSTOMER),
    )
    for kind, source, target in steps:
        postings = tuple(
            Posting(sku, location, source, target, quantity)
            for (sku, location), quantity in sorted(units.items())
        )
        command = StockCommand(
            id=digest_of("shipment", wanted.command_id, kind.value),
            kind=kind,
            postings=postings,
            reason="order shipped",
            reference=wanted.order_no,
            actor=wanted.actor,
        )
        await post(connection, command, now_ms)


async def _record(
    connection: AsyncConnection,
    wanted: ShipOrder,
    parcels: Parcels[Component],
    parts: Sequence[_Part],
    now_ms: int,
) -> None:
    """One row a parcel, and in its lines what is in it of which order."""
    labels = {parcel.location: (parcel.carrier, parcel.tracking) for parcel in wanted.parcels}
    owed = {part.sale.order_no: dict(part.needs) for part in parts}
    for location, parcel in parcels.items():
        carrier, tracking = labels.get(location, ("", ""))
        row = {
            "command_id": wanted.command_id,
            "order_no": wanted.order_no,
            "location": location,
            "carrier": carrier or wanted.carrier,
            "tracking": tracking or wanted.tracking,
            "shipped_at_ms": now_ms,
            "shipped_by": wanted.actor,
        }
        statement = insert(order_shipments).returning(order_shipments.c.number)
        number = (await connection.execute(statement, row)).scalar_one()
        lines = _lines(parcel, owed)
        await connection.execute(
            insert(order_shipment_lines), [{"shipment": number, **line} for line in lines]
        )


def _lines(
    parcel: Mapping[Component, int], owed: Mapping[str, dict[Component, int]]
) -> list[dict[str, object]]:
    """Divide a parcel among the orders in it, in their order."""
    lines: list[dict[str, object]] = []
    for component, quantity in parcel.items():
        left = quantity
        for order_no, needs in owed.items():
            units = min(left, needs.get(component, 0))
            if units:
                needs[component] -= units
                left -= units
                line = {"order_no": order_no, "sku": component.sku, "pool": component.pool}
                lines.append({**line, "quantity": units})
    return lines
