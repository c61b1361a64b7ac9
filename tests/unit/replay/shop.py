"""A shop of many pools in memory that keeps the rules, so that one at a time can be broken."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import msgspec

from flashstock.client import Cart, Line, Pool, PoolOrder, Refund, Reservation
from flashstock.errors import NotConfirmed, SoldOut, UnknownPool, UnknownReservation
from flashstock.model.states import PoolState, ReservationState


class HonestShop:
    """Carts all or nothing, payments, returns and adjustments, each once per key."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self.reservations: dict[str, Reservation] = {}
        self.keys: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.at_once = self.at_once_max = 0
        self._numbers = itertools.count(1)

    async def open_pool(self, order: PoolOrder) -> Pool:
        pool = Pool(order.id, PoolState.OPEN, order.quantity, order.quantity, 0, 0)
        self.pools[order.id] = pool
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
        return self._change(
            found,
            state=ReservationState.CONFIRMED,
            payment_ref=payment_ref,
            order_no=str(next(self._numbers)),
        )

    async def return_units(self, reservation: str, quantity: int, key: str) -> Reservation:
        await self._called("return", key)
        found = self._found(reservation)
        returned = found.returned + quantity
        if found.state is not ReservationState.CONFIRMED or returned > found.quantity:
            raise NotConfirmed
        self._move(found.pool, sold=-quantity, available=quantity)
        complete = returned == found.quantity
        state = ReservationState.RETURNED if complete else ReservationState.CONFIRMED
        return self._change(found, state=state, returned=returned)

    async def adjust(self, pool: str, delta: int, key: str) -> None:
        await self._called("adjust", key)
        self._move(pool, total=delta, available=delta)

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
