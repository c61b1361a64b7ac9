"""Many for the last seat of a group, and its last payment against its deadline: one outcome each.

The long form, as in ``tests/recovery``: 50,000 joiners with ``CAMPAIGN=140``, 50,000 payments with
``CAMPAIGN=420``.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import pytest

from flashstock.hotpath import keys
from flashstock.hotpath.scripts import PaySeatStatus, Verdict
from flashstock.model import events
from flashstock.model.group_rules import GroupDeduct
from flashstock.model.states import GroupState, ReservationState
from tests.concurrency.deadlines import STOP, sweep
from tests.concurrency.group_racers import (
    LAST_SEATS,
    PaymentRace,
    SeatRace,
    Told,
    join_in_a_process,
    open_groups,
    pay_in_a_process,
)
from tests.recovery.campaign import FACTOR, draws
from tests.reference.group_invariants import check_groups
from tests.reference.group_subjects import groups_on_server
from tests.reference.invariants import check
from tests.reference.subjects import RETENTION_MS, OnServer

Answer = TypeVar("Answer")
RACERS = 3
GROUPS = 60
"""Each of them asked for twice by every racer."""
PAYMENTS = 120

logger = logging.getLogger(__name__)


async def side_by_side(
    shard: OnServer,
    url: str,
    run: Callable[[str, Told], list[Answer]],
    told: Sequence[Told],
    *,
    sweeping: bool = False,
) -> list[Answer]:
    """Each racer in a process; a sweeper in another one, where there is something to sweep."""
    loop, spawn = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
    racers = told[0].racers
    with ProcessPoolExecutor(racers, mp_context=spawn) as executor:
        swept = (
            [loop.run_in_executor(executor, sweep, url, racers, RETENTION_MS)] if sweeping else []
        )
        try:
            found = await asyncio.gather(
                *(loop.run_in_executor(executor, run, url, one) for one in told)
            )
        finally:
            await shard.client.set(STOP, 1)
        await asyncio.gather(*swept)
    return [answer for answers in found for answer in answers]


@pytest.mark.timeout(120 * FACTOR)
@pytest.mark.parametrize("deduct", GroupDeduct)
async def test_a_last_seat_is_one_buyers(shard, valkey_url, deduct):
    groups = GROUPS * FACTOR
    _, random = next(iter(draws(1)))
    await shard.client.hset(keys.shard_meta(0), "clock_ms", 0)
    await open_groups(shard.store, groups, deduct)
    told = [
        Told(f"r{number}", random.getrandbits(32), groups, RACERS, RETENTION_MS, deduct)
        for number in range(RACERS)
    ]
    races: list[SeatRace] = await side_by_side(shard, valkey_url, join_in_a_process, told)
    state = await shard.state([LAST_SEATS])
    known = await groups_on_server(shard.client, [LAST_SEATS])
    check(state, {})
    check_groups(state, known)
    assert len(races) == 2 * RACERS * groups
    by_group: dict[str, list[SeatRace]] = defaultdict(list)
    for race in races:
        by_group[race.group].append(race)
    assert len(by_group) == groups
    for group, asked in by_group.items():
        paid = sum(race.then == "paid" for race in asked)
        left = sum(race.then == "left" for race in asked)
        record = known.groups[group]
        verdicts = Counter(race.verdict for race in asked)
        assert verdicts[Verdict.HELD] == paid + left
        assert set(verdicts) <= {Verdict.HELD, Verdict.GROUP_FULL, Verdict.GROUP_OVER}
        assert paid <= 1, (group, asked)
        assert (record.state is GroupState.FORMED) == (paid == 1)
        assert (record.paid, record.pending) == (1 + paid, 0)
    logger.info(
        "%d asked for %d last seats: %s",
        len(races),
        groups,
        Counter(f"{Verdict(race.verdict).name} {race.then}".strip() for race in races),
    )


@pytest.mark.timeout(120 * FACTOR)
async def test_a_last_payment_forms_the_group_or_comes_back(shard, valkey_url):
    _, random = next(iter(draws(1)))
    each = PAYMENTS * FACTOR // (RACERS - 1)
    await shard.client.hset(keys.shard_meta(0), "clock_ms", 0)
    told = [
        Told(f"r{number}", random.getrandbits(32), each, RACERS, RETENTION_MS)
        for number in range(RACERS - 1)
    ]
    races: list[PaymentRace] = await side_by_side(
        shard, valkey_url, pay_in_a_process, told, sweeping=True
    )
    pools = {record.pool for record in (await shard.state([])).records.values()}
    for pool in pools:
        while 0 < (await shard.store.expire(pool, 8))[1] <= max(0, await now_ms(shard)):
            pass
    state = await shard.state(sorted(pools))
    known = await groups_on_server(shard.client, pools)
    check(state, {})
    check_groups(state, known)
    refunds = Counter(event.digest for _, event in state.log if isinstance(event, events.RefundDue))
    for race in races:
        group, seat = known.groups[race.opener], state.records[race.seat]
        opener = state.records[race.opener]
        if PaySeatStatus.REFUND_DUE in race.statuses:
            assert set(race.statuses) == {PaySeatStatus.REFUND_DUE}, race
            assert (group.state, group.paid, group.pending) == (GroupState.FAILED, 0, 0), race
            assert (seat.state, refunds[race.seat]) == (ReservationState.EXPIRED, 1), race
            # On a busy machine the opener may have come too late as well.
            assert opener.state in (ReservationState.REFUNDED, ReservationState.EXPIRED), race
            assert refunds[race.opener] == (opener.state is ReservationState.EXPIRED), race
        else:
            expected = Counter({PaySeatStatus.CONFIRMED: 1})
            expected[PaySeatStatus.REPLAYED] = len(race.statuses) - 1
            assert Counter(race.statuses) == +expected, race
            assert (group.state, group.paid) == (GroupState.FORMED, 2), race
            assert seat.state is opener.state is ReservationState.CONFIRMED, race
            assert refunds[race.seat] == 0
            assert race.late_ms < 0, f"a payment at the deadline counted: {race}"
    assert len(races) >= 2 * each
    found = Counter("formed" if race.late_ms < 0 else "failed" for race in races)
    near = sum(abs(race.late_ms) <= 5 for race in races)
    logger.info("%d last payments: %s; %d within 5 ms", len(races), dict(found), near)
    assert len(found) == 2, "not everything happened"


async def now_ms(shard: OnServer) -> int:
    seconds, microseconds = await shard.client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000
