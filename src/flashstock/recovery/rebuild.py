"""Writing a shard of Redis from SQL, in bounded memory, fenced against overtaken rebuilders.

Every write goes through the ``restore`` script, which is loaded with the rebuilder's token as its
generation: once somebody newer has taken the shard over, the next write fails and the rebuild
with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from hashlib import sha1
from itertools import chain
from typing import Any, Final, Protocol

from redis.asyncio import Redis

from flashstock.errors import Recovering
from flashstock.hotpath import keys
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.position import Position
from flashstock.hotpath.scripts import FENCED, script_set
from flashstock.ledger.proof import Proof
from flashstock.ledger.queries import Queries
from flashstock.ledger.stored import RetainedReservation
from flashstock.model.events import encode_rules
from flashstock.model.group_records import SEAT_MARK
from flashstock.model.ids import DIGEST_LENGTH, digest_of, limit_scope
from flashstock.model.records import pack_record
from flashstock.model.rules import NO_DEADLINE_MS, PoolCounters, PoolRules
from flashstock.model.states import ReservationState
from flashstock.recovery.read_ahead import read_ahead
from flashstock.recovery.rebuild_groups import GroupRebuilder

PAGE: Final = 2_000
"""Rows read from SQL, and reservations written to Redis, at a time: two values each, and a script
can't hand on more than about 8,000."""
DIGESTS_IN_BATCH_MAX: Final = 128
"""As the scripts write them, so that the sweep's bound holds for rebuilt holds too."""
_HELD: Final = ReservationState.HELD.value
_ORDERED: Final = ReservationState.ORDERED.value


class Lease(Protocol):
    """Asked before every step that writes; raises ``Recovering`` when it is lost."""

    async def renew(self) -> None: ...


class Rebuilder:
    """Rebuilds shards.

    Args:
        clients: the server of each shard.
        queries, proof: SQL.
        clock: ms since the epoch.
        retention_ms: how long an ended reservation stays known.
    """

    def __init__(
        self,
        clients: Sequence[Redis],
        queries: Queries,
        proof: Proof,
        clock: Callable[[], int],
        *,
        retention_ms: int,
    ) -> None:
        self._clients = clients
        self._queries = queries
        self._proof = proof
        self._clock = clock
        self._retention_ms = retention_ms

    async def rebuild(
        self, shard: int, found: int, position: Position, token: str, lease: Lease
    ) -> None:
        """Replace everything the shard has by what SQL says as of ``position``.

        Memory is bounded by two pages of rows: one is read while the other is written. Time is
        linear in retained reservations.

        Args:
            found: the position at which the data set was taken over.

        Raises:
            Recovering: overtaken, or some of it was lost. Unavailable: a store went away. Either
                way: start over.
        """
        writes = FencedWrites(self._clients[shard], shard, token, found)
        await writes.load()
        # Whoever takes over a rebuild that was cut off must not mistake it for a whole data set.
        await writes.step()
        await self._clear(shard, writes, lease)
        decided_at_ms = await self._pools(shard, position, writes, lease)
        since_ms = self._clock() - self._retention_ms
        async with aclosing(read_ahead(self._retained(shard, since_ms))) as pages:
            async for rows in pages:
                await lease.renew()
                await self._reservations(shard, rows, writes)
        await self._groups(shard, since_ms, writes, lease)
        await self._commands(shard, since_ms, writes, lease)
        orders = await self._queries.max_order_index(shard)
        # Time goes on where the last decision left it, whatever this machine's clock says.
        meta = {"clock_ms": decided_at_ms, "orders": orders, "position": position.text()}
        await lease.renew()
        writes.put("HSET", keys.shard_meta(shard), *_flat(meta))
        await writes.arrive(int(position))

    async def open(self, shard: int, seq: int, token: str, generation: int) -> None:
        """Let the scripts of ``generation`` in: the last write of a recovery.

        Args:
            seq: where the data set must stand.

        Raises:
            Recovering, Unavailable: as ``rebuild``.
        """
        writes = FencedWrites(self._clients[shard], shard, token, seq)
        await writes.load()
        opened = {"opened_generation": generation, "generation": generation}
        writes.put("HSET", keys.shard_meta(shard), *_flat(opened))
        await writes.execute()

    async def _clear(self, shard: int, writes: FencedWrites, lease: Lease) -> None:
        meta = keys.shard_meta(shard).encode()
        cursor = 0
        while True:
            with translated_failures():
                cursor, found = await self._clients[shard].scan(
                    cursor, match=f"{keys.shard_tag(shard)}:*", count=PAGE
                )
            for key in found:
                if key != meta:
                    writes.put("UNLINK", key)
            await lease.renew()
            await writes.flush()
            if cursor == 0:
                return

    async def _pools(self, shard: int, seq: int, writes: FencedWrites, lease: Lease) -> int:
        """Write every pool; the time of the shard's last decision, which some pool has seen."""
        after, scope, decided_at_ms = "", "", 0
        while pools := await self._queries.pools(after, PAGE, shard=shard):
            for pool in pools:
                fields = pool_fields(pool.rules, pool.counters, grants=seq)
                writes.put("HSET", keys.pool(shard, pool.id), *_flat(fields))
                if pool.rules.waves:
                    writes.put("ZADD", keys.due(shard), pool.rules.waves[0].at_ms, pool.id)
                # The pools of a group are neighbours, and have their buyers in common.
                if limit_scope(pool.id) != scope:
                    scope = limit_scope(pool.id)
                    await self._buyers(shard, pool.id, writes, lease)
                if pool.rules.group_buy:
                    await GroupRebuilder(self._queries, shard, writes, lease).buyers(pool.id)
                decided_at_ms = max(decided_at_ms, pool.updated_at_ms)
            await lease.renew()
            await writes.flush()
            after = pools[-1].id
        return decided_at_ms

    async def _buyers(self, shard: int, pool: str, writes: FencedWrites, lease: Lease) -> None:
        totals = self._queries.buyer_totals(pool, PAGE)
        async with aclosing(read_ahead(totals)) as pages:
            async for page in pages:
                writes.put("HSET", keys.buyers(shard, pool), *chain.from_iterable(page))
                await lease.renew()
                await writes.flush()

    async def _groups(self, shard: int, since_ms: int, writes: FencedWrites, lease: Lease) -> None:
        async def write_seats(rows: Sequence[RetainedReservation]) -> None:
            await self._reservations(shard, rows, writes)

        groups = GroupRebuilder(self._queries, shard, writes, lease)
        await groups.rebuild(since_ms, self._retention_ms, write_seats)

    async def _retained(
        self, shard: int, since_ms: int
    ) -> AsyncGenerator[Sequence[RetainedReservation], None]:
        after = ""
        while rows := await self._queries.retained_reservations(shard, after, PAGE, since_ms):
            yield rows
            after = rows[-1].id

    async def _reservations(
        self, shard: int, rows: Sequence[RetainedReservation], writes: FencedWrites
    ) -> None:
        packed: list[str] = []
        moments: dict[tuple[str, str, int], list[str]] = defaultdict(list)
        retention_ms, now_ms = self._retention_ms, self._clock()
        # By position: asking rows for their columns by name costs as much as packing all of it.
        for (
            id,
            pool,
            buyer,
            quantity,
            cart,
            state,
            deadline_ms,
            updated_at_ms,
            generation,
            seq,
            payment_ref,
            order_index,
            returned,
        ) in rows:
            digest = id[-DIGEST_LENGTH:]
            record = pack_record(
                state,
                deadline_ms,
                generation,
                seq,
                quantity,
                pool,
                buyer,
                cart,
                payment_ref,
                order_index,
                returned,
            )
            packed += (digest, record)
            if state == _HELD or (state == _ORDERED and cart.startswith(SEAT_MARK)):
                moments[pool, "deadlines", deadline_ms].append(digest)
            else:
                forget_at_ms = max(updated_at_ms, deadline_ms) + retention_ms
                moments[pool, "retired", forget_at_ms].append(digest)
            if payment_ref:
                left_ms = updated_at_ms + retention_ms - now_ms
                if left_ms > 0:
                    key = keys.payment(shard, digest_of("payment", payment_ref))
                    writes.put("SET", key, id, "PX", left_ms)
        writes.put("HSET", keys.reservations(shard), *packed)
        for (pool, kind, at_ms), digests in moments.items():
            # One that never ends by itself goes alone when somebody ends it.
            size = 1 if at_ms == NO_DEADLINE_MS else DIGESTS_IN_BATCH_MAX
            for start in range(0, len(digests), size):
                batch = "".join(digests[start : start + size])
                writes.put("ZADD", keys.POOL_KEYS[kind](shard, pool), at_ms, batch)
            writes.put("ZADD", keys.due(shard), "LT", at_ms, pool)
        await writes.flush()

    async def _commands(
        self, shard: int, since_ms: int, writes: FencedWrites, lease: Lease
    ) -> None:
        """What idempotent commands did is in their events; refunds keep their payment claims."""
        after = 0
        while commands := await self._proof.commands(shard, since_ms, after, PAGE):
            for command in commands:
                left_ms = max(1, command.at_ms + self._retention_ms - self._clock())
                key = keys.command(shard, command.digest)
                writes.put("SET", key, command.text, "PX", left_ms)
            await lease.renew()
            await writes.flush()
            after = commands[-1].seq
        after = 0
        while refunds := await self._queries.refunds(after, PAGE):
            for refund in refunds:
                if refund.shard == shard and refund.recorded_at_ms >= since_ms:
                    left_ms = max(1, refund.recorded_at_ms + self._retention_ms - self._clock())
                    key = keys.payment(shard, digest_of("payment", refund.payment_ref))
                    writes.put("SET", key, refund.reservation_id, "PX", left_ms)
            await lease.renew()
            await writes.flush()
            after = refunds[-1].id


class FencedWrites:
    """A pipeline of ``restore`` calls under one token.

    Every write names the position that it must find, and every flush leaves one that was not
    there before, below zero and lower each time. So nothing is written to a data set that lost an
    earlier write, not even where the server kept its scripts.

    Args:
        position: at which the data set is now.
    """

    def __init__(self, client: Redis, shard: int, token: str, position: int) -> None:
        self._client = client
        self._meta = keys.shard_meta(shard)
        self._text = script_set(shard, token, 0).texts["restore"]
        self._sha = sha1(self._text.encode()).hexdigest()
        self._position = position
        self._queued: list[tuple[str | bytes, tuple[Any, ...]]] = []

    async def load(self) -> None:
        """Load the script under this token. Nobody else can know its name."""
        with translated_failures():
            await self._client.script_load(self._text)

    def put(self, command: str, key: str | bytes, *arguments: Any) -> None:
        """Queue one write."""
        self._queued.append((key, (command, *arguments)))

    async def flush(self) -> None:
        """Execute what is queued. Raises ``Recovering`` as ``execute`` does."""
        if self._queued:
            await self.step()

    async def step(self) -> None:
        """Execute what is queued, if anything is, and go to the next position below zero."""
        await self.arrive(min(self._position, 0) - 1)

    async def arrive(self, position: int) -> None:
        """Execute what is queued, and leave the data set at a position."""
        self.put("HSET", self._meta, "seq", position)
        await self.execute()
        self._position = position

    async def execute(self) -> None:
        """Execute what is queued, and go nowhere. Raises ``Recovering`` if any was fenced off."""
        queued, self._queued = self._queued, []
        with translated_failures():
            async with self._client.pipeline(transaction=False) as pipeline:
                for key, arguments in queued:
                    pipeline.evalsha(self._sha, 2, self._meta, key, *arguments, self._position)
                replies = await pipeline.execute()
        if any(reply[0] == FENCED for reply in replies):
            raise Recovering("another process or another server has taken this rebuild over")


def pool_fields(rules: PoolRules, counters: PoolCounters, *, grants: int) -> dict[str, Any]:
    """The pool hash. ``grants`` only ever goes up: the log position is a bound on it."""
    groups = {"groups_open": 0} if rules.group_buy else {}
    return {
        **groups,
        **encode_rules(rules),
        "special": int(rules.special),
        "total": counters.total,
        "available": counters.available,
        "held": counters.held,
        "sold": counters.sold,
        "locked": counters.locked,
        "grants": grants,
    }


def _flat(fields: dict[str, Any]) -> list[Any]:
    return [part for pair in fields.items() for part in pair]
