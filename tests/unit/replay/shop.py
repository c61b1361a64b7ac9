"""A shop of many pools in memory that keeps the rules, so that one at a time can be broken."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import msgspec

from flashstock.client import (
    Balance,
    Cart,
    Line,
    Movement,
    Order,
    OrderReturn,
    Pool,
    PoolOrder,
    Refund,
    Reservation,
    StockLine,
)
from flashstock.errors import (
    NotReturnable,
    NotShippable,
    SoldOut,
    UnknownOrder,
    UnknownPool,
    UnknownReservation,
)
from flashstock.model.states import PoolState, ReservationState


class HonestShop:
    """Carts all or nothing, payments, parcels and returns, each once per key.

    A pool is called like the SKU it sells; everything of the SKU stands at one location.
    """

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self.reservations: dict[str, Reservation] = {}
        self.orders: dict[str, Order] = {}
        self.reservation_of: dict[str, str] = {}
        self.book: dict[str, Counter[str]] = {}
        self.keys: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.regions: list[str | None] = []
        self.at_once = self.at_once_max = 0
        self._numbers = itertools.count(1)

    async def open_pool(self, order: PoolOrder) -> Pool:
        pool = Pool(order.id, PoolState.OPEN, order.quantity, order.quantity, 0, 0)
        self.pools[order.id] = pool
        self._goods(order.id, on_hand=order.quantity, campaign=order.quantity)
        return pool

    async def reserve_cart(self, buyer: str, lines: Sequence[Line], key: str) -> Cart:
        await self._called("cart", key)
        wanted: Counter[str] = Counter()
        for line in lines:
            wanted[line.pool] += line.quantity
        for pool, quantity in wanted.items():
            if pool not in self.pools:
                raise UnknownPool
            if self.pools[pool].available < quantity:
                raise SoldOut
        return Cart(key, buyer, tuple(self._hold(buyer, *line) for line in wanted.items()))

    async def confirm(self, reservation: str, payment_ref: str) -> Reservation:
        await self._called("confirm", payment_ref)
        found = self._found(reservation)
        self._move(found.pool, held=-found.quantity, sold=found.quantity)
        order_no, units = str(next(self._numbers)), found.quantity
        self.orders[order_no] = Order(order_no, "paid", found.pool, units, units, 0, 0)
        self.reservation_of[order_no] = reservation
        return self._change(
            found,
            state=ReservationState.CONFIRMED,
            payment_ref=payment_ref,
            order_no=order_no,
        )

    async def ship(
        self, order_no: str, key: str, *, region: str | None, merge: Sequence[str] = ()
    ) -> Order:
        await self._called("ship", key)
        self.regions.append(region)
        for number in (order_no, *merge):
            self._send(number)
        return self.orders[order_no]

    def _send(self, order_no: str) -> None:
        order = self.orders.get(order_no)
        if order is None:
            raise UnknownOrder
        if order.shipped:
            raise NotShippable
        self._goods(order.pool, on_hand=-order.quantity, campaign=-order.quantity)
        self.orders[order_no] = msgspec.structs.replace(
            order, state="shipped", to_ship=0, shipped=order.quantity
        )

    async def take_back(
        self, order_no: str, quantity: int, key: str, *, location: str, disposition: str
    ) -> OrderReturn:
        await self._called("order_return", key)
        assert disposition == "available"
        order = self.orders[order_no]
        if quantity > order.shipped - order.returned:
            raise NotReturnable
        self.orders[order_no] = msgspec.structs.replace(order, returned=order.returned + quantity)
        self._goods(order.pool, on_hand=quantity, available=quantity)
        self._move(order.pool, sold=-quantity, total=-quantity)
        found = self._found(self.reservation_of[order_no])
        returned = found.returned + quantity
        complete = returned == found.quantity
        state = ReservationState.RETURNED if complete else ReservationState.CONFIRMED
        self._change(found, state=state, returned=returned)
        return OrderReturn(next(self._numbers), order_no, "done", quantity)

    async def move(
        self, kind: str, lines: Sequence[StockLine], key: str, *, reason: str, reference: str
    ) -> Movement:
        await self._called("movement", key)
        for line in lines:
            assert (kind, line.target) == ("return", "unsellable")
            self._goods(line.sku, on_hand=line.quantity, unsellable=line.quantity)
        return Movement(next(self._numbers), kind)

    def end(self) -> None:
        """Every pool gives back what nobody bought."""
        for pool in self.pools.values():
            left = pool.available
            self._move(pool.id, available=-left, total=-left)
            self._goods(pool.id, campaign=-left, available=left)

    def balances(self) -> list[Balance]:
        names = ("on_hand", "available", "campaign", "unsellable", "committed")
        return [
            Balance(sku, "here", **{name: units[name] for name in names})
            for sku, units in self.book.items()
        ]

    async def pool(self, pool: str) -> Pool:
        return self.pools[pool]

    async def reservation(self, reservation: str) -> Reservation:
        if reservation not in self.reservations:
            raise UnknownReservation
        return self.reservations[reservation]

    async def refunds(self) -> AsyncIterator[Refund]:
        nothing: list[Refund] = []
        for refund in nothing:
            yield refund

    async def _called(self, purpose: str, key: str) -> None:
        assert key not in self.keys, f"{key} is used twice"
        self.keys.add(key)
        self.calls.append((purpose, key))
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        await asyncio.sleep(0.001)
        self.at_once -= 1

    def _hold(self, buyer: str, pool: str, quantity: int) -> Reservation:
        self._move(pool, available=-quantity, held=quantity)
        id = f"{pool}~{next(self._numbers)}"
        held = Reservation(id, pool, buyer, quantity, ReservationState.HELD)
        self.reservations[id] = held
        return held

    def _found(self, reservation: str) -> Reservation:
        return self.reservations[reservation]

    def _change(self, found: Reservation, **changes: object) -> Reservation:
        changed = msgspec.structs.replace(found, **changes)
        self.reservations[found.id] = changed
        return changed

    def _move(self, pool: str, **deltas: int) -> None:
        found = self.pools[pool]
        moved = {name: getattr(found, name) + delta for name, delta in deltas.items()}
        self.pools[pool] = msgspec.structs.replace(found, **moved)

    def _goods(self, sku: str, **deltas: int) -> None:
        self.book.setdefault(sku, Counter()).update(deltas)
