"""At the deadline either the payment or the sweep wins, and SQL says the same as was answered.

A few hundred races by default; ``CAMPAIGN=250 pytest --timeout 0 --log-cli-level INFO
tests/concurrency/test_deadlines.py`` runs a hundred thousand and says how they came out.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from random import Random

import pytest

from flashstock.bootstrap import retention_ms_of
from flashstock.errors import RefundDue
from flashstock.hotpath.scripts import ConfirmStatus
from flashstock.ledger.stored import StoredPool
from flashstock.model import events
from flashstock.model.states import PoolState, ReservationState
from tests.concurrency.deadlines import KINDS, STOP, Race, Told, aim, buy, sweep, until
from tests.recovery.audit import Books, check_books, read_books
from tests.recovery.campaign import FACTOR, draws
from tests.recovery.node import Node, opened, raw, settings_for

RACES = 400
BUYERS = 2

logger = logging.getLogger(__name__)


async def run_races(url: str, told: Sequence[Told]) -> list[Race]:
    """Each buyer in a process, a sweeper in another one."""
    loop = asyncio.get_running_loop()
    spawn = multiprocessing.get_context("spawn")
    racers, retention_ms = told[0].racers, told[0].retention_ms
    with ProcessPoolExecutor(racers, mp_context=spawn) as executor:
        sweeping = loop.run_in_executor(executor, sweep, url, racers, retention_ms)
        try:
            found = await asyncio.gather(
                *(loop.run_in_executor(executor, buy, url, one) for one in told)
            )
        finally:
            with raw(url) as client:
                client.set(STOP, 1)
        await sweeping
    return [race for races in found for race in races]


async def come_to_rest(node: Node) -> None:
    """Wait until nothing is held any more and SQL has heard of everything."""
    while True:
        held = sum(pool.counters.held for pool in await stored_pools(node))
        if held == 0 and await node.lag(0) == 0:
            return
        await asyncio.sleep(0.05)


async def stored_pools(node: Node) -> list[StoredPool]:
    found: list[StoredPool] = []
    while page := await node.stores.queries.pools(found[-1].id if found else "", 500):
        found += page
    return found


def check_races(books: Books, races: Sequence[Race]) -> None:
    """What each payment was told is what SQL has, and SQL has no sale and no refund besides."""
    for race in races:
        row = books.reservations[race.reservation]
        order = books.orders.get(race.reservation)
        refund = books.refunds.get(race.payment_ref)
        told = Counter(race.statuses)
        if ConfirmStatus.REFUND_DUE in told:
            assert set(told) == {ConfirmStatus.REFUND_DUE}, race
            assert (row.state, order) == (ReservationState.EXPIRED, None), (race, row)
            assert refund is not None, race
            assert (refund.reservation_id, refund.quantity) == (race.reservation, row.quantity)
        else:
            again = len(race.statuses) - 1
            assert told == Counter(
                {ConfirmStatus.CONFIRMED: 1} | ({ConfirmStatus.REPLAYED: again} if again else {})
            ), race
            assert (row.state, refund) == (ReservationState.CONFIRMED, None), (race, row)
            assert order is not None, race
            assert order.payment_ref == race.payment_ref
    assert len({race.reservation for race in races}) == len(races)
    assert len(books.orders) + len(books.refunds) == len(races)
    assert not books.quarantined


def outcomes(books: Books) -> Counter[str]:
    """How the races came out, by what the journal says of each payment."""
    found: Counter[str] = Counter()
    for row in books.journal[0]:
        if row.kind not in ("confirmed", "refund_due"):
            continue
        event = events.decode(
            events.LogEntry(0, row.generation, row.seq, row.count, row.kind, row.payload)
        )
        if isinstance(event, events.RefundDue):
            found["expired, refund due"] += 1
        elif isinstance(event, events.Confirmed):
            held = event.before is ReservationState.HELD
            found["paid" if held else "expired, served from stock"] += 1
    return found


@pytest.mark.timeout(120 * FACTOR)
async def test_exactly_one_wins_and_sql_knows_which(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url)
    _, random = next(iter(draws(1)))
    each = RACES * FACTOR // BUYERS
    told = [
        Told(f"b{number}", random.getrandbits(32), each, BUYERS + 1, retention_ms_of(settings))
        for number in range(BUYERS)
    ]
    async with opened(settings) as node:
        sweeping = asyncio.create_task(node.sweeper.run())
        races = await run_races(valkey_url, told)
        await come_to_rest(node)
        node.sweeper.stop()
        await sweeping
        report = await node.reconciler.report()
        assert report["ok"], report
    books = await read_books(sqlite_url)
    check_books(books)
    check_races(books, races)
    assert all(row.held == 0 for row in books.pools.values())
    found = outcomes(books)
    logger.info("%d races in %d pools: %s", len(races), len(books.pools), dict(found))
    logger.info("decided by the payment, from the deadline on: %s", aim(races))
    assert len(races) >= RACES * FACTOR
    assert len(found) == len(KINDS), f"not everything happened: {found}"


HOLDS = 40


async def one_sale(node: Node, pool: str, random: Random) -> Counter[str]:
    """Through the service itself: when it answers, SQL has it."""
    await node.create(pool, HOLDS, hold_ms=150)
    held = await asyncio.gather(*(node.hold(pool, f"{pool}-{n}") for n in range(HOLDS)))
    deadline_ms = (await node.reservations.get(held[0])).record.deadline_ms
    if random.random() < 0.5:
        await node.pools.set_state(pool, PoolState.CLOSED)
    found: Counter[str] = Counter()

    async def pay(reservation: str) -> None:
        payment_ref = f"pay-{reservation}"
        await until(deadline_ms + random.uniform(-20, 10))
        try:
            view = (await node.reservations.confirm(reservation, payment_ref)).view
        except RefundDue:
            found["refund due"] += 1
            expected = ReservationState.EXPIRED
            assert await node.stores.queries.has_refund(payment_ref), reservation
        else:
            found["sold"] += 1
            expected = ReservationState.CONFIRMED
            assert view.record.payment_ref == payment_ref
        row = await node.stores.queries.reservation(reservation)
        assert row is not None
        assert row.state is expected, (row, expected)

    await asyncio.gather(*(pay(one) for one in held))
    return found


@pytest.mark.timeout(120 * FACTOR)
async def test_the_service_answers_what_sql_has(valkey_url, sqlite_url):
    settings = await settings_for(valkey_url, sqlite_url, sweep_interval_ms=2)
    found: Counter[str] = Counter()
    async with opened(settings) as node:
        sweeping = asyncio.create_task(node.sweeper.run())
        for name, random in draws(4):
            found += await one_sale(node, name.replace("=", "-"), random)
        await come_to_rest(node)
        node.sweeper.stop()
        await sweeping
        report = await node.reconciler.report()
        assert report["ok"], report
    check_books(await read_books(sqlite_url))
    logger.info("%d payments at the deadline: %s", found.total(), dict(found))
    assert found.total() == 4 * FACTOR * HOLDS
