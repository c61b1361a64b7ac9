"""What the shop does for its visitors: look, hold, take the money, let go. All of it over HTTP."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Final, NamedTuple

from flashstock.client import (
    Attests,
    Client,
    Group,
    GroupBuy,
    Pool,
    PoolOrder,
    PublicCampaign,
    Reservation,
    RetryPolicy,
)
from flashstock.errors import Forbidden, UnknownReservation
from flashstock.storefront.looking import SharedLook

CONNECTIONS_MAX: Final = 128
TIMEOUT_MS: Final = 5_000
QUICK: Final = RetryPolicy(attempts_max=2, first_wait_ms=50, wait_max_ms=200, total_wait_max_ms=200)
"""The visitor's browser is the one that is patient: it says so on the page."""
FRESH_MS: Final = 200
CHANGED_MS: Final = 50
WINDOW_MAX: Final = 50
GROUPS_SHOWN_MAX: Final = 20
ATTESTED: Final = Attests(new_buyer=True, channel="web")
"""Nobody signs in here, so everybody is new, and this is a page of the web."""


class Window(NamedTuple):
    """The sales on show; ``more``: there are others."""

    pools: tuple[Pool, ...]
    more: bool


class SaleWanted(NamedTuple):
    """A sale that a visitor wants to see, checked."""

    units: int
    opens_in_seconds: int
    hold_seconds: int
    per_buyer_limit: int
    group_size: int = 0
    """Seats of a group; 0: it sells to anyone."""
    group_life_seconds: int = 3_600


class Shop:
    """One process's shop: a customer of the service at ``url``."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self.client = Client(
            url,
            api_key=api_key,
            connections_max=CONNECTIONS_MAX,
            timeout_ms=TIMEOUT_MS,
            retry=QUICK,
        )
        self._looks = SharedLook(
            self.client.pool, fresh_ms=FRESH_MS, changed_ms=CHANGED_MS, clock=time.monotonic
        )
        self._group_looks = SharedLook(
            self.client.group, fresh_ms=FRESH_MS, changed_ms=CHANGED_MS, clock=time.monotonic
        )
        self._list_looks = SharedLook(
            self._open_groups, fresh_ms=FRESH_MS, changed_ms=CHANGED_MS, clock=time.monotonic
        )

    async def window(self) -> Window | None:
        """What is on sale; ``None`` where the shop's key may not look at all of it."""
        found: list[Pool] = []
        try:
            async for pool in self.client.pools():
                if len(found) == WINDOW_MAX:
                    return Window(tuple(found), more=True)
                found.append(pool)
        except Forbidden:
            return None
        return Window(tuple(found), more=False)

    async def open_sale(self, wanted: SaleWanted) -> Pool:
        """A pool of its own for a visitor to play with."""
        opens_at = datetime.now(UTC) + timedelta(seconds=wanted.opens_in_seconds)
        groups = None
        if wanted.group_size:
            groups = GroupBuy(wanted.group_size, life_seconds=wanted.group_life_seconds)
        order = PoolOrder(
            id=f"demo-{token_hex(3)}",
            sku="DEMO",
            quantity=wanted.units,
            per_buyer_limit=wanted.per_buyer_limit,
            hold_seconds=wanted.hold_seconds,
            starts_at=opens_at if wanted.opens_in_seconds else None,
            group_buy=groups,
        )
        return await self.client.open_pool(order)

    async def campaign(self, code: str) -> PublicCampaign:
        return await self.client.public_campaign(code)

    async def pool(self, pool: str) -> Pool:
        """As it was a moment ago."""
        return await self._looks.of(pool)

    async def buy(self, pool: str, buyer: str, quantity: int, key: str) -> Reservation:
        """Hold units. The visitor's browser repeats it with the same key until it knows."""
        granted = await self.client.reserve(
            pool,
            buyer,
            quantity,
            f"demo-{buyer}-{key}",
            attests=ATTESTED,
        )
        self._looks.changed(pool)
        return granted.reservation

    async def groups(self, pool: str) -> tuple[Group, ...]:
        """The first open groups of a pool as they were a moment ago, the nearest to full first."""
        return await self._list_looks.of(pool)

    async def group(self, group: str) -> Group:
        """As it was a moment ago."""
        return await self._group_looks.of(group)

    async def open_group(self, pool: str, buyer: str, key: str, *, match: bool) -> Reservation:
        """Take the first seat of a new group, or (``match``) one in the group nearest to full."""
        taken = await self.client.open_group(
            pool, buyer, f"demo-{buyer}-{key}", match=match, attests=ATTESTED
        )
        self._changed(taken.reservation)
        return taken.reservation

    async def join_group(self, group: str, buyer: str, key: str) -> Reservation:
        """Take a seat in this group."""
        taken = await self.client.join_group(group, buyer, f"demo-{buyer}-{key}", attests=ATTESTED)
        self._changed(taken.reservation)
        return taken.reservation

    async def hold(self, reservation: str, buyer: str) -> Reservation:
        """A buyer's own reservation.

        Raises:
            UnknownReservation: there is none, or it is somebody else's.
        """
        found = await self.client.reservation(reservation)
        if found.buyer != buyer:
            raise UnknownReservation(f"you have no reservation {reservation!r}")
        return found

    async def pay(self, reservation: str, buyer: str, receipt: str | None) -> Reservation:
        """What a payment provider would tell the shop; here it is a button."""
        try:
            await self.hold(reservation, buyer)
        except UnknownReservation:
            if receipt is None:
                raise
        # Of one reservation there is one payment, however often the button is pressed.
        payment_ref = f"demo-{hashlib.sha256(reservation.encode()).hexdigest()[:24]}"
        paid = await self.client.confirm(reservation, payment_ref, receipt=receipt)
        self._changed(paid)
        return paid

    async def let_go(self, reservation: str, buyer: str) -> Reservation:
        """Give a hold back."""
        await self.hold(reservation, buyer)
        given_back = await self.client.cancel(reservation)
        self._changed(given_back)
        return given_back

    async def _open_groups(self, pool: str) -> tuple[Group, ...]:
        found: list[Group] = []
        async for group in self.client.open_groups(pool):
            found.append(group)
            if len(found) == GROUPS_SHOWN_MAX:
                break
        return tuple(found)

    def _changed(self, reservation: Reservation) -> None:
        self._looks.changed(reservation.pool)
        if reservation.group is not None:
            self._group_looks.changed(reservation.group)
            self._list_looks.changed(reservation.pool)
