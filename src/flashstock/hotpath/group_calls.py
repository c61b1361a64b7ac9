"""The verbs on groups and their seats: one method a script. ``HotStore`` has them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from flashstock.errors import NotAGroupBuy
from flashstock.hotpath import group_replies, replies
from flashstock.hotpath.scripts import SettleGroupStatus, TakeSeatsStatus
from flashstock.model.ids import ReservationId, digest_of

OPEN: Final = "open"
MATCH: Final = "match"
NOT_A_GROUP_BUY: Final = int(TakeSeatsStatus.NOT_A_GROUP_BUY)


def join(group: str) -> str:
    """What ``take_seats`` is asked for by who wants to join that group."""
    return f"join:{group}"


class GroupCalls(ABC):
    """What a store of a shard's groups does; refusals are values, as everywhere in the store."""

    @abstractmethod
    async def _call_pool(
        self, name: str, pool_id: str, arguments: Sequence[Any], digest: str = ""
    ) -> tuple[str, replies.Reply]: ...

    async def _call_group_buy(
        self, name: str, pool_id: str, arguments: Sequence[Any]
    ) -> tuple[str, replies.Reply]:
        generation, reply = await self._call_pool(name, pool_id, arguments)
        if reply[0] == NOT_A_GROUP_BUY:
            raise NotAGroupBuy(pool=pool_id)
        return generation, reply

    async def take_seats(
        self,
        pool_id: str,
        units_wanted: int,
        digests: Sequence[str],
        buyers: Sequence[str],
        quantities: Sequence[str],
        wants: Sequence[str],
        attests: Sequence[str] | None = None,
    ) -> group_replies.SeatsReply:
        """Decide a batch of at most 128 requests for seats of one pool's groups, in order.

        Each opens a group or joins one: its unit and its seat are taken in one step, or neither.

        Args:
            wants: for each ``OPEN``, ``join(group)`` or ``MATCH``: into the group nearest to full
                that the buyer may enter, else a new one.
            attests: as ``reserve``.

        Raises:
            UnknownPool: there is no such pool. NotAGroupBuy: it sells without groups.
        """
        arguments = [units_wanted, *digests, *buyers, *quantities, *wants]
        if attests is not None:
            arguments.append("\n".join(attests))
        return group_replies.seats_reply(
            *await self._call_group_buy("take_seats", pool_id, arguments)
        )

    async def pay_seat(self, target: ReservationId, payment_ref: str) -> group_replies.SeatReply:
        """Pay for a seat, once; the last one forms its group. Outcomes: ``PaySeatStatus``."""
        arguments = [target.digest, payment_ref, str(target)]
        digest = digest_of("payment", payment_ref)
        return group_replies.seat_reply(
            *await self._call_pool("pay_seat", target.pool, arguments, digest)
        )

    async def leave_group(self, target: ReservationId, kind: str) -> group_replies.SeatReply:
        """Give a seat back while its group is open; ``kind`` is cancelled or revoked.

        Outcomes: ``LeaveGroupStatus``.
        """
        return group_replies.seat_reply(
            *await self._call_pool("leave_group", target.pool, [target.digest, kind])
        )

    async def sweep_groups(self, pool_id: str, batch_max: int) -> tuple[int, int]:
        """What time alone decides in a pool of groups: (units gained, next moment in ms or 0).

        ``expire`` asks this by itself. Groups that form may take more units than come free.
        """
        _, reply = await self._call_pool("sweep_groups", pool_id, [batch_max])
        return reply[3], reply[4]

    async def settle_group(
        self, group: ReservationId
    ) -> tuple[SettleGroupStatus, group_replies.SeatReply]:
        """Decide a group whose deadline has passed, and settle at most 128 of its seats.

        The reply has the group as it is now; its ``record`` is always ``None``.
        """
        generation, reply = await self._call_pool("settle_group", group.pool, [group.digest])
        return SettleGroupStatus(reply[0]), group_replies.seat_reply(generation, reply)

    async def read_groups(
        self, pool_id: str, digests: Sequence[str], seats_max: int
    ) -> group_replies.GroupsReply:
        """At most 100 groups of a pool with their first seats. One that is overdue is shown open:
        ``settle_group`` decides it.
        """
        generation, reply = await self._call_pool("read_groups", pool_id, [seats_max, *digests])
        return group_replies.groups_reply(generation, digests, reply)

    async def list_open_groups(
        self, pool_id: str, limit: int, after: tuple[int, str] | None = None
    ) -> group_replies.OpenGroupsReply:
        """A page of the groups that can be joined, the nearest to full and to its end first.

        The list moves: a group that gets a seat between two pages may be in both, or in neither.

        Args:
            after: score and digest of the last one seen.

        Raises:
            UnknownPool: there is no such pool. NotAGroupBuy: it sells without groups.
        """
        score, digest = after or ("", "")
        return group_replies.open_groups_reply(
            *await self._call_group_buy("list_open_groups", pool_id, [limit, score, digest])
        )
