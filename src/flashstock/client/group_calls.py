"""The calls of a shop that sells to groups. Seats are paid, left and looked at as reservations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

from flashstock.client.answers import Attests, Reservation
from flashstock.client.core import Core
from flashstock.client.group_answers import Group, GroupPage
from flashstock.client.wire import decoder, segment

_reservation: Final = decoder(Reservation)
_group: Final = decoder(Group)
_group_page: Final = decoder(GroupPage)


class SeatTaken(NamedTuple):
    """A seat that the service acknowledged; ``replayed`` where this key had it before."""

    reservation: Reservation
    replayed: bool


class GroupCalls(Core):
    """Part of ``Client``: what is said of its calls there goes for these."""

    async def open_group(
        self,
        pool: str,
        buyer: str,
        key: str,
        *,
        quantity: int = 1,
        match: bool = False,
        attests: Attests | None = None,
    ) -> SeatTaken:
        """Take the first seat of a new group, once per ``key``.

        Args:
            match: rather one in the group that is nearest to full, where there is any to join.

        Raises:
            Refused: ``SoldOut``, ``OpenLimit``, ``GroupsLimit``, ``NotEligible`` …
        """
        body: dict[str, Any] = {"pool": pool, "buyer": buyer, "quantity": quantity}
        if match:
            body["match"] = True
        return await self._take("open_group", "/v1/groups", body, key, attests)

    async def join_group(
        self,
        group: str,
        buyer: str,
        key: str,
        *,
        quantity: int = 1,
        attests: Attests | None = None,
    ) -> SeatTaken:
        """Take a seat in this group, once per ``key``.

        Raises:
            Refused: ``GroupFull``, ``GroupOver``, ``SeatsLimit``, ``SoldOut`` …
        """
        body: dict[str, Any] = {"buyer": buyer, "quantity": quantity}
        path = f"/v1/groups/{segment(group)}/join"
        return await self._take("join_group", path, body, key, attests)

    async def group(self, group: str) -> Group:
        """As of this instant, with its first members."""
        path = f"/v1/groups/{segment(group)}"
        return _group((await self._send("group", "GET", path)).payload)

    async def open_groups(self, pool: str) -> AsyncIterator[Group]:
        """Groups with a free seat, the nearest to full first, read page by page."""
        after: str | None = ""
        while after is not None:
            path = f"/v1/groups?pool={segment(pool)}" + (
                f"&after={segment(after)}" if after else ""
            )
            page = _group_page((await self._send("open_groups", "GET", path)).payload)
            for group in page.items:
                yield group
            after = page.next_after

    async def _take(
        self, purpose: str, path: str, body: dict[str, Any], key: str, attests: Attests | None
    ) -> SeatTaken:
        if attests is not None:
            body["attests"] = attests
        received = await self._send(purpose, "POST", path, body, key)
        seat = _reservation(received.payload)
        self._receipts.note(seat)
        return SeatTaken(seat, received.replayed)
