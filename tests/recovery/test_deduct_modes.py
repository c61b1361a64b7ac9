"""Holds without a deadline and reservations that hold nothing, through a rebuild."""

from __future__ import annotations

import asyncio

import pytest

from flashstock import bootstrap, errors
from flashstock.hotpath import keys
from flashstock.model.states import DeductMode, ReservationState
from tests.recovery.dump import dump
from tests.recovery.node import eventually, opened, raw, settings_for

RETENTION_MS = 50


@pytest.fixture
async def node(valkey_url, database_url, monkeypatch):
    monkeypatch.setattr(bootstrap, "retention_ms_of", lambda _settings: RETENTION_MS)
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as opened_node:
        await opened_node.create("kept", 10, deduct=DeductMode.ORDER)
        await opened_node.create("later", 10, deduct=DeductMode.PAYMENT)
        await opened_node.create("brief", 10, deduct=DeductMode.PAYMENT, hold_ms=RETENTION_MS)
        yield opened_node


async def rebuilt(node, valkey_url):
    """The shard before and after everything was lost."""
    await node.is_applied()
    with raw(valkey_url) as client:
        before = dump(client, 0)
        client.flushall()
    node.gate.lost(0)
    await node.gate.opened(0)
    with raw(valkey_url) as client:
        return before, dump(client, 0)


async def time_passes(node):
    for _ in range(2):
        await asyncio.sleep(3 * RETENTION_MS / 1_000)
        for pool in ("kept", "brief"):
            await node.stores.store.expire(pool, 64)


async def test_a_hold_without_a_deadline_is_ended_and_forgotten_after_a_rebuild_too(
    node, valkey_url
):
    first, second = await node.hold("kept", "first"), await node.hold("kept", "second")
    before, after = await rebuilt(node, valkey_url)
    assert after == before
    await node.reservations.cancel(first)
    await node.reservations.confirm(second, "pay")
    with raw(valkey_url) as client:
        assert client.zcard(keys.deadlines(0, "kept")) == 0
        assert client.zcard(keys.retired(0, "kept")) == 2
    await time_passes(node)
    before, after = await rebuilt(node, valkey_url)
    assert after == before
    assert before.records == {}, "what has ended long ago is not brought back"


async def test_what_is_ordered_is_remembered_until_after_its_deadline(node, valkey_url):
    ordered, withdrawn = await node.hold("later", "ordered"), await node.hold("later", "withdrawn")
    await node.reservations.cancel(withdrawn)
    before, after = await rebuilt(node, valkey_url)
    assert after == before
    assert len(after.records) == 2
    assert (await node.reservations.get(ordered)).state is ReservationState.ORDERED


async def test_what_was_ordered_long_ago_is_forgotten_and_its_payment_is_not(node, valkey_url):
    ordered = await node.hold("brief", "ordered")
    await time_passes(node)
    before, after = await rebuilt(node, valkey_url)
    assert before.records == after.records == {}
    with pytest.raises(errors.ReservationExpired):
        await node.reservations.cancel(ordered)
    with pytest.raises(errors.RefundDue):
        await node.reservations.confirm(ordered, "too late")
    report = await node.reconciler.report()
    assert report["ok"], report


async def test_a_key_that_is_used_again_long_after_orders_nothing_and_pauses_nothing(node):
    await node.hold("brief", "again")
    await node.is_applied()
    await time_passes(node)
    with pytest.raises(errors.NotRecorded):
        await node.reserve("brief", "buyer-again", 1, "again")

    async def is_retracted() -> bool:
        (event,) = await node.stores.queries.quarantined(0, 10)
        return event.resolved_at_ms is not None and event.kind == "ordered"

    await eventually(is_retracted, "what was refused is taken back")
    assert (await node.pools.get("brief")).rules.state == "open"


async def test_a_payment_that_may_be_served_elsewhere_is_not_given_back(valkey_url, database_url):
    """A copy that was behind knows neither: whoever does will serve them, though they are late."""
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create("later", 10, deduct=DeductMode.PAYMENT)
        await node.create("brief", 10, hold_ms=1)
        late = [await node.hold("later", "ordered"), await node.hold("brief", "expired")]

        async def is_expired() -> bool:
            await node.stores.store.expire("brief", 64)
            await node.is_applied()
            stored = await node.stores.queries.reservation(late[1])
            return stored is not None and stored.state is ReservationState.EXPIRED

        await eventually(is_expired, "the hold has expired in SQL")
        digests = [one.partition("~")[2] for one in late]
        with raw(valkey_url) as client:
            records = client.hmget(keys.reservations(0), digests)
            client.hdel(keys.reservations(0), *digests)
        for one in late:
            with pytest.raises(errors.Recovering):
                await node.reservations.confirm(one, f"pay-{one}")
            assert not await node.stores.queries.has_refund(f"pay-{one}")
        with raw(valkey_url) as client:
            client.hset(keys.reservations(0), mapping=dict(zip(digests, records, strict=True)))
        for one in late:
            answer = await node.reservations.confirm(one, f"pay-{one}")
            assert answer.view.state is ReservationState.CONFIRMED
