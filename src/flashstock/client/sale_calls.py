"""The calls a shop makes while it sells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from flashstock.client.answers import Attests, Cart, Line, Reservation, Wish
from flashstock.client.core import Core
from flashstock.client.problems import error_of
from flashstock.client.wire import decoder, segment
from flashstock.errors import FlashstockError


class Granted(NamedTuple):
    """A hold that the service acknowledged; ``replayed`` where this key had it before."""

    reservation: Reservation
    replayed: bool


class _BatchItem(msgspec.Struct, frozen=True):
    """What all items of a batch have; the rest depends on it."""

    status: int


class _Batch(msgspec.Struct, frozen=True):
    items: tuple[msgspec.Raw, ...]


_reservation: Final = decoder(Reservation)
_cart: Final = decoder(Cart)
_batch: Final = decoder(_Batch)
_batch_item: Final = decoder(_BatchItem)


class SaleCalls(Core):
    """Part of ``Client``: what is said of its calls there goes for these.

    Receipts are kept: ``confirm`` shows the one of its reservation without being asked to.
    """

    async def reserve(
        self, pool: str, buyer: str, quantity: int, key: str, *, attests: Attests | None = None
    ) -> Granted:
        """Hold units for a buyer, once per ``key``.

        Raises:
            Refused: the sale says no: ``SoldOut``, ``NotStarted``, ``BuyerLimit`` …; its
                ``extra`` has what a page shows.
        """
        body: dict[str, object] = {"pool": pool, "buyer": buyer, "quantity": quantity}
        if attests is not None:
            body["attests"] = attests
        received = await self._send("reserve", "POST", "/v1/reservations", body, key)
        return Granted(self._noted(_reservation(received.payload)), received.replayed)

    async def reserve_many(self, wishes: Sequence[Wish]) -> list[Reservation | FlashstockError]:
        """One answer for each wish, in their order: a reservation, or why there is none.

        Each is decided by itself, once per its key. An error of a single one is a value here;
        raised is what goes for the request as a whole.
        """
        body = {"items": wishes}
        received = await self._send("batch", "POST", "/v1/reservations/batch", body)
        return [self._wished(bytes(item)) for item in _batch(received.payload).items]

    async def reserve_cart(
        self, buyer: str, lines: Sequence[Line], key: str, *, attests: Attests | None = None
    ) -> Cart:
        """Hold every line, or none of them."""
        body: dict[str, object] = {"buyer": buyer, "lines": lines}
        if attests is not None:
            body["attests"] = attests
        cart = _cart((await self._send("cart", "POST", "/v1/carts", body, key)).payload)
        for reservation in cart.reservations:
            self._noted(reservation)
        return cart

    async def reservation(self, reservation: str) -> Reservation:
        """As of this instant."""
        return await self._on_reservation("reservation", "GET", reservation, "")

    async def confirm(
        self, reservation: str, payment_ref: str, *, receipt: str | None = None
    ) -> Reservation:
        """Turn a hold into a sale; the payment's reference makes a repetition harmless.

        Args:
            receipt: of a hold that another client was granted.

        Raises:
            ReservationExpired, RefundDue: the payment can't be served.
        """
        body = {"payment_ref": payment_ref}
        shown = receipt or self._receipts.of(reservation)
        if shown is not None:
            body["receipt"] = shown
        return await self._on_reservation("confirm", "POST", reservation, "/confirm", body)

    async def cancel(self, reservation: str) -> Reservation:
        """Give a hold's units back. Doing it again changes nothing."""
        return await self._on_reservation("cancel", "POST", reservation, "/cancel", {})

    async def extend(self, reservation: str, seconds: int) -> Reservation:
        """Move the deadline to that many seconds from now, never to an earlier moment."""
        body = {"seconds": seconds}
        return await self._on_reservation("extend", "POST", reservation, "/extend", body)

    async def return_units(
        self, reservation: str, quantity: int | None, key: str, *, restock: bool = True
    ) -> Reservation:
        """Take sold units back, once per ``key``.

        Args:
            quantity: ``None`` for all that are left of it.
            restock: whether the pool can sell them again, or they leave it.
        """
        body: dict[str, Any] = {}
        if quantity is not None:
            body["quantity"] = quantity
        if not restock:
            body["restock"] = False
        return await self._on_reservation("return", "POST", reservation, "/return", body, key)

    async def _on_reservation(
        self,
        purpose: str,
        method: str,
        reservation: str,
        verb: str,
        body: object = None,
        key: str | None = None,
    ) -> Reservation:
        path = f"/v1/reservations/{segment(reservation)}{verb}"
        received = await self._send(purpose, method, path, body, key)
        return self._noted(_reservation(received.payload))

    def _wished(self, payload: bytes) -> Reservation | FlashstockError:
        status = _batch_item(payload).status
        if status >= 300:
            return error_of(status, payload)
        return self._noted(_reservation(payload))

    def _noted(self, reservation: Reservation) -> Reservation:
        self._receipts.note(reservation)
        return reservation
