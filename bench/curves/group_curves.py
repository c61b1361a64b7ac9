"""What a seat costs as the open groups of a pool grow in number: the scripts alone, no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from random import Random
from typing import Final

from bench import engine
from bench.curves.curve import Row, Setting
from bench.engine import ServerTime
from bench.stores import Valkey, valkey
from bench.systems import POOL, POOL_UNITS, InvariantBroken
from flashstock.hotpath.group_calls import MATCH, OPEN, join
from flashstock.hotpath.store import HotStore
from flashstock.model.events import encode_rules
from flashstock.model.group_rules import GroupRules
from flashstock.model.ids import ReservationId, digest_of
from flashstock.model.rules import PoolRules
from flashstock.model.states import Durability

SIZE: Final = 1_000
"""Large, so that few groups have seats enough for many joiners: no group fills up meanwhile."""
FEW: Final = 10
"""Groups that everybody wants to join, however many there are."""
JOINERS_MAX: Final = 400
"""Of one group, twice: once where few are joined, once where any of them is."""
PAYING: Final = 1_000
PAGES: Final = 200
PAGE: Final = 20


def groups(this: Setting) -> Iterator[Row]:
    """Joining, being matched, opening, paying and listing, beside more and more open groups."""
    for count in this.sizes.groups:
        with valkey(this.directory) as server:
            yield asyncio.run(_groups(this, server, count))


async def _groups(this: Setting, server: Valkey, count: int) -> Row:
    items, seats = this.options.batch_items, min(this.sizes.engine_reservations, 16_384)
    random = Random(count)
    async with engine.opened(server) as store:
        rules = PoolRules(
            "bench-sku",
            hold_ms=engine.HOUR_MS,
            durability=Durability.FAST,
            group_buy=GroupRules(SIZE, engine.HOUR_MS).text,
        )
        await store.configure(POOL, encode_rules(rules), created=(POOL_UNITS, 0))
        opened = [digest_of("group", str(number)) for number in range(count)]
        await _take(store, opened, [OPEN] * count, items)
        joining = min(seats, JOINERS_MAX * FEW)
        few = [join(group) for group in random.sample(opened, FEW)]
        all_of_them = [join(random.choice(opened)) for _ in range(joining)]
        joiners = [digest_of("join", str(number)) for number in range(2 * joining)]
        matched = [digest_of("match", str(number)) for number in range(seats)]
        more = [digest_of("open", str(number)) for number in range(min(seats, max(64, count)))]
        row: Row = {
            "open_groups": count,
            "join_few_us": await _cost(
                store,
                joining,
                lambda: _take(store, joiners[:joining], few * (joining // FEW), items),
            ),
            "join_any_us": await _cost(
                store, joining, lambda: _take(store, joiners[joining:], all_of_them, items)
            ),
            "match_us": await _cost(
                store, seats, lambda: _take(store, matched, [MATCH] * seats, items)
            ),
            "open_us": await _cost(
                store, len(more), lambda: _take(store, more, [OPEN] * len(more), items)
            ),
            "pay_us": await _cost(store, PAYING, lambda: _pay(store, matched[:PAYING])),
            "list_us": await _cost(store, PAGES, lambda: _list(store)),
        }
        counters = (await store.snapshot(POOL)).counters
        taken = count + 2 * joining + seats + len(more)
        if counters.held + counters.sold != taken or not counters.balanced():
            raise InvariantBroken(f"engine: {taken} seats, and the pool says {counters}")
        return row


async def _cost(store: HotStore, times: int, run: Callable[[], Awaitable[None]]) -> float:
    """Server time of one of so many, in µs."""
    async with ServerTime(store) as server:
        await run()
    return server.us / times


async def _take(store: HotStore, digests: Sequence[str], wants: Sequence[str], items: int) -> None:
    """So many a call, each by another buyer; all must be granted."""
    for first in range(0, len(digests), items):
        asking = digests[first : first + items]
        reply = await store.take_seats(
            POOL,
            len(asking),
            asking,
            [f"b-{digest}" for digest in asking],
            ["1"] * len(asking),
            wants[first : first + items],
        )
        if set(reply.verdicts) != {ord("0")}:
            raise InvariantBroken(f"a seat was refused: {reply.verdicts!r}")


async def _pay(store: HotStore, digests: Sequence[str]) -> None:
    for digest in digests:
        await store.pay_seat(ReservationId(POOL, digest), f"pay {digest}")


async def _list(store: HotStore) -> None:
    for _ in range(PAGES):
        await store.list_open_groups(POOL, PAGE)
