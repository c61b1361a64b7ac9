"""The reservation store on Redis or Valkey: one method a script.

Refusals are values; only the store's own absence raises. Every method may raise ``Recovering``
(this is not the data set we opened) and ``Unavailable`` (no answer: the call may have taken
effect, and the same request finds out).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from flashstock.errors import Recovering, UnknownPool
from flashstock.hotpath import keys, replies
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.group_calls import GroupCalls
from flashstock.hotpath.position import read_position
from flashstock.hotpath.scripts import (
    FENCED,
    AdjustStatus,
    CancelStatus,
    ClaimPaymentStatus,
    ConfigureStatus,
    ConfirmStatus,
    ExpireStatus,
    KnownStatus,
    RepairStatus,
    ReserveStatus,
    RetractStatus,
    ScriptSet,
    build_keys,
    position_place,
)
from flashstock.model.ids import DIGEST_LENGTH, ReservationId, digest_of, shard_of, shard_of_pool
from flashstock.model.records import ReservationRecord, unpack_record
from flashstock.model.rules import POOL_QUANTITY_MAX

UNKNOWN_POOL: Final = int(ReserveStatus.UNKNOWN_POOL)


Call = Callable[..., Awaitable[Any]]
"""Executes one command once; ``Pipe.call``, or the slower one of redis-py."""


def _nothing(shard: int) -> int:  # noqa: ARG001 (of any)
    return 0


class HotStore(GroupCalls):
    """All shards of one data set.

    A shard answers only while it is open: ``open_shard`` names the scripts of its generation,
    and the first sign that the data set is another one (NOSCRIPT, FENCED) closes it again.
    """

    def __init__(self, client: Redis, shard_count: int, call: Call | None = None) -> None:
        self.clients: Sequence[Redis] = [client] * shard_count
        """Of each shard, for what is read by page."""
        self._calls: Sequence[Call] = [call or client.execute_command] * shard_count
        self.shard_count = shard_count
        self.on_lost: Callable[[int], None] | None = None
        """Called with a shard whose data set turned out to be another one."""
        self.committed: Callable[[int], int] = _nothing
        """Up to which seq of a shard SQL is known to have everything: ours can't be behind that."""
        self._seen = [0] * shard_count
        """The highest seq that a shard answered with since it was opened: nor behind that."""
        self._scripts: list[ScriptSet | None] = [None] * shard_count
        self._reserve_keys: dict[str, tuple[int, list[str]]] = {}

    @classmethod
    def spread(cls, clients: Sequence[Redis], calls: Sequence[Call]) -> HotStore:
        """A store whose shards may each be somewhere else; one client and one call a shard."""
        store = cls(clients[0], len(clients))
        store.clients, store._calls = clients, calls
        return store

    @property
    def client(self) -> Redis:
        """The first shard's, which is everybody's where there is one server."""
        return self.clients[0]

    def open_shard(self, shard: int, scripts: ScriptSet) -> None:
        """Let calls through to a shard whose scripts are loaded."""
        self._scripts[shard] = scripts
        self._seen[shard] = 0

    def close_shard(self, shard: int) -> None:
        """Refuse every call to a shard with ``Recovering`` until it is opened again."""
        self._scripts[shard] = None

    def generation(self, shard: int) -> str | None:
        """The generation the shard is open under, or ``None`` while it is closed."""
        scripts = self._scripts[shard]
        return scripts.generation if scripts is not None else None

    def shard_of(self, pool_id: str) -> int:
        """The shard a pool lives in."""
        return shard_of_pool(pool_id, self.shard_count)

    async def _call(
        self, name: str, shard: int, key_list: Sequence[str], arguments: Sequence[Any]
    ) -> tuple[str, replies.Reply]:
        scripts = self._scripts[shard]
        if scripts is None:
            raise Recovering
        floor = max(self.committed(shard), self._seen[shard])
        try:
            with translated_failures():
                reply: replies.Reply = await self._calls[shard](
                    "EVALSHA", scripts.shas[name], len(key_list), *key_list, *arguments, floor
                )
        except Recovering:
            self._lose(shard, scripts)
            raise
        if reply[0] == FENCED:
            self._lose(shard, scripts)
            raise Recovering
        place = position_place(name)
        if place is not None and place < len(reply):
            reply[place] = position = read_position(reply[place])
            if position > self._seen[shard] and self._scripts[shard] is scripts:
                self._seen[shard] = int(position)
        return scripts.generation, reply

    def _lose(self, shard: int, scripts: ScriptSet) -> None:
        # A late answer of an old generation must not close the gate that was opened since.
        if self._scripts[shard] is scripts:
            self._scripts[shard] = None
            if self.on_lost is not None:
                self.on_lost(shard)

    async def _call_pool(
        self, name: str, pool_id: str, arguments: Sequence[Any], digest: str = ""
    ) -> tuple[str, replies.Reply]:
        shard = self.shard_of(pool_id)
        key_list = build_keys(name, shard, pool_id, digest)
        generation, reply = await self._call(name, shard, key_list, [pool_id, *arguments])
        if reply[0] == UNKNOWN_POOL:
            raise UnknownPool(f"there is no pool {pool_id!r}", pool=pool_id)
        return generation, reply

    async def reserve(
        self,
        pool_id: str,
        units_wanted: int,
        digests: Sequence[str],
        buyers: Sequence[str],
        quantities: Sequence[str],
        attests: Sequence[str] | None = None,
    ) -> replies.BatchReply:
        """Decide a batch of at most 128 requests for one pool, in order.

        Args:
            attests: what is attested of each (``Attests.packed``, or empty), where anything is.

        Raises:
            UnknownPool: there is no such pool; nothing was decided.
        """
        cached = self._reserve_keys.get(pool_id)
        if cached is None:
            shard = self.shard_of(pool_id)
            cached = (shard, build_keys("reserve", shard, pool_id))
            if len(self._reserve_keys) < 100_000:
                self._reserve_keys[pool_id] = cached
        shard, key_list = cached
        arguments = [pool_id, units_wanted, *digests, *buyers, *quantities]
        if attests is not None:
            arguments.append("\n".join(attests))
        generation, reply = await self._call("reserve", shard, key_list, arguments)
        if reply[0] == UNKNOWN_POOL:
            raise UnknownPool(f"there is no pool {pool_id!r}", pool=pool_id)
        return replies.batch_reply(generation, reply)

    async def reserve_cart(
        self,
        shard: int,
        cart: str,
        buyer: str,
        lines: Sequence[tuple[str, str, int]],
        attests: str = "",
    ) -> replies.CartReply:
        """Hold all lines ``(pool, digest, quantity)`` of one shard, or none."""
        key_list = build_keys("reserve_cart", shard)
        arguments: list[Any] = [cart, buyer]
        for pool_id, digest, quantity in lines:
            key_list += [
                keys.pool(shard, pool_id),
                keys.deadlines(shard, pool_id),
                keys.buyers(shard, pool_id),
                keys.retired(shard, pool_id),
            ]
            arguments += [pool_id, digest, quantity]
        if attests:
            arguments.append(attests)
        generation, reply = await self._call("reserve_cart", shard, key_list, arguments)
        return replies.cart_reply(generation, reply)

    async def confirm(self, target: ReservationId, payment_ref: str) -> replies.ReservationReply:
        """Turn a hold into a sale, once, or pay for a seat. Outcomes: ``ConfirmStatus``."""
        arguments = [target.digest, payment_ref, str(target)]
        digest = digest_of("payment", payment_ref)
        generation, reply = await self._call_pool("confirm", target.pool, arguments, digest)
        if reply[0] == ConfirmStatus.GROUP_SEAT:
            return await self.pay_seat(target, payment_ref)
        return replies.reservation_reply(generation, reply)

    async def reclaim(
        self,
        target: ReservationId,
        payment_ref: str,
        *,
        buyer: str,
        quantity: int,
        deadline_ms: int,
    ) -> replies.ReservationReply:
        """Sell a hold that no store knows any more, or put its refund on record.

        Only for what a receipt proves, and only once SQL was asked. Outcomes: ``ReclaimStatus``.

        Raises:
            UnknownPool: there is no such pool; nothing was decided.
        """
        arguments = [target.digest, payment_ref, str(target), buyer, quantity, deadline_ms]
        digest = digest_of("payment", payment_ref)
        return replies.reservation_reply(
            *await self._call_pool("reclaim", target.pool, arguments, digest)
        )

    async def claim_payment(
        self, payment_ref: str, target: ReservationId, *, release: bool = False
    ) -> bool:
        """Bind a reference to a reservation in the reference's own shard; ``False``: taken."""
        shard = shard_of(payment_ref, self.shard_count)
        key_list = build_keys("claim_payment", shard, digest=digest_of("payment", payment_ref))
        arguments = [str(target), int(release)]
        _, reply = await self._call("claim_payment", shard, key_list, arguments)
        return bool(reply[0] == ClaimPaymentStatus.CLAIMED)

    async def decide_cart(self, shard: int, cart: str, verdict: str) -> tuple[str, bool]:
        """Fix how a cart of several shards comes out: (generation, is it this verdict).

        The first verdict stands. It is remembered as long as a key is, and lost with the data set.
        """
        key_list = build_keys("claim_payment", shard, digest=digest_of("cart verdict", cart))
        generation, reply = await self._call("claim_payment", shard, key_list, [verdict, 0])
        return generation, bool(reply[0] == ClaimPaymentStatus.CLAIMED)

    async def cancel(self, target: ReservationId, kind: str) -> replies.ReservationReply:
        """Give a hold or a seat back; ``kind`` is cancelled or revoked. Outcomes:
        ``CancelStatus``.
        """
        generation, reply = await self._call_pool("cancel", target.pool, [target.digest, kind])
        if reply[0] == CancelStatus.GROUP_SEAT:
            return await self.leave_group(target, kind)
        return replies.reservation_reply(generation, reply)

    async def extend(self, target: ReservationId, extension_ms: int) -> replies.ReservationReply:
        """Move a deadline to ``now + extension_ms``. Outcomes: ``ExtendStatus``."""
        return replies.reservation_reply(
            *await self._call_pool("extend", target.pool, [target.digest, extension_ms])
        )

    async def return_sale(
        self,
        target: ReservationId,
        quantity: int,
        command_digest: str,
        *,
        restock: bool = True,
    ) -> replies.ReservationReply:
        """Take units of a sale back (0: all that are left), to be sold again or out of the pool.

        Outcomes: ``ReturnSaleStatus``.
        """
        arguments = [target.digest, quantity, command_digest, int(restock)]
        return replies.reservation_reply(
            *await self._call_pool("return_sale", target.pool, arguments, command_digest)
        )

    async def retract(
        self, target: ReservationId, generation: int, seq: int, older: str
    ) -> RetractStatus:
        """Take back the hold that event ``seq`` granted; ``older`` is the record it stood over."""
        arguments = [target.digest, generation, seq, older]
        _, reply = await self._call_pool("retract", target.pool, arguments)
        return RetractStatus(reply[0])

    async def expire(self, pool_id: str, batch_max: int) -> tuple[int, int]:
        """Do what time alone decides in one pool: (units released, next moment in ms or 0)."""
        _, reply = await self._call_pool("expire", pool_id, [batch_max])
        if reply[0] == ExpireStatus.GROUP_POOL:
            return await self.sweep_groups(pool_id, batch_max)
        return reply[3], reply[4]

    async def adjust(
        self, pool_id: str, total_delta: int, locked_delta: int, command_digest: str
    ) -> tuple[AdjustStatus, str, int, int]:
        """Add, take back, lock or unlock units: (status, generation, seq, available)."""
        arguments = [total_delta, locked_delta, command_digest, POOL_QUANTITY_MAX]
        generation, reply = await self._call_pool("adjust", pool_id, arguments, command_digest)
        return AdjustStatus(reply[0]), generation, reply[2], reply[3]

    async def configure(
        self,
        pool_id: str,
        rules: dict[str, str],
        *,
        created: tuple[int, int] | None,
        reason: str = "",
    ) -> tuple[ConfigureStatus, replies.PoolSnapshot]:
        """Create a pool with ``created = (total, locked)``, or change rules of an existing one.

        The reason, if any, stands in the event: whoever reads the journal sees why.
        """
        mode, total, locked = ("create", *created) if created else ("update", 0, 0)
        pairs = [part for pair in rules.items() for part in pair]
        generation, reply = await self._call_pool(
            "configure", pool_id, [mode, total, locked, reason, *pairs]
        )
        return ConfigureStatus(reply[0]), replies.pool_snapshot(generation, pool_id, reply)

    async def snapshot(self, pool_id: str) -> replies.PoolSnapshot:
        """One pool and its log position, as of one instant."""
        shard = self.shard_of(pool_id)
        key_list = build_keys("snapshot", shard, pool_id)
        generation, reply = await self._call("snapshot", shard, key_list, [])
        if reply[0] == UNKNOWN_POOL:
            raise UnknownPool(f"there is no pool {pool_id!r}", pool=pool_id)
        return replies.pool_snapshot(generation, pool_id, reply)

    async def known(self, pool_id: str, digests_max: int) -> tuple[int, frozenset[bytes]] | None:
        """(grants so far, digests remembered) of a pool, or ``None`` if there are too many."""
        shard = self.shard_of(pool_id)
        key_list = build_keys("known", shard, pool_id)
        _, reply = await self._call("known", shard, key_list, [digests_max])
        if reply[0] != KnownStatus.OK:
            return None
        joined = b"".join(reply[3:])
        if len(joined) > digests_max * DIGEST_LENGTH:
            return None
        starts = range(0, len(joined), DIGEST_LENGTH)
        return reply[2], frozenset(joined[start : start + DIGEST_LENGTH] for start in starts)

    async def repair(
        self, pool_id: str, expected_seq: int, arguments: Sequence[Any]
    ) -> tuple[RepairStatus, int]:
        """Write a pool back to what SQL says, if the shard still stands at ``expected_seq``."""
        _, reply = await self._call_pool("repair", pool_id, [int(expected_seq), *arguments])
        return RepairStatus(reply[0]), reply[2]

    async def lookup(self, shard: int, digests: Sequence[str]) -> replies.LookupReply:
        """The records of at most 1,000 reservations of one shard, as of one instant."""
        key_list = build_keys("lookup", shard)
        generation, reply = await self._call("lookup", shard, key_list, digests)
        return replies.lookup_reply(generation, reply)

    async def scan_reservations(
        self, shard: int, position: int, count: int
    ) -> tuple[int, dict[str, ReservationRecord]]:
        """About ``count`` records by digest, and the position to go on at (0: that was all)."""
        client, key = self.clients[shard], keys.reservations(shard)
        with translated_failures():
            answer: Any = await client.hscan(key, position, count=count)
        found = {
            digest.decode(): unpack_record(text.decode()) for digest, text in answer[1].items()
        }
        return answer[0], found

    async def scan_buyers(
        self, pool_id: str, position: int, count: int
    ) -> tuple[int, dict[str, int]]:
        """About ``count`` buyers with the units that count for the pool's limit, and the position
        to go on at (0: all).
        """
        shard = self.shard_of(pool_id)
        client, key = self.clients[shard], keys.buyers(shard, pool_id)
        with translated_failures():
            answer: Any = await client.hscan(key, position, count=count)
        return answer[0], {buyer.decode(): int(units) for buyer, units in answer[1].items()}

    async def buyer_units(self, pool_id: str, buyers: Sequence[str]) -> list[int]:
        """Units each buyer counts for where the pool's limit is counted."""
        shard = self.shard_of(pool_id)
        client, key = self.clients[shard], keys.buyers(shard, pool_id)
        with translated_failures():
            answer: Any = await client.hmget(key, list(buyers))
        return [int(units or 0) for units in answer]

    async def seq(self, shard: int) -> int:
        """The last sequence number given out in a shard."""
        return int((await self.lookup(shard, ["-"])).seq)

    async def now_ms(self, shard: int) -> int:
        """What time it is in a shard that is open, as its scripts decide."""
        return (await self.lookup(shard, ["-"])).now_ms
