"""Holds that were lost with the tail of the log, paid for on the strength of their receipts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from flashstock import bootstrap, errors
from flashstock.api.bodies import reservation_body
from flashstock.model.ids import shard_of
from flashstock.model.receipts import ReceiptSigner
from flashstock.model.states import Durability, ReservationState
from tests.recovery.node import Node, opened, raw, settings_for

SHARDS = 3
"""So that payments and reservations live in different ones."""


@dataclass
class Lost:
    """A hold of two units that no store knows any more, and its receipt."""

    id: str
    receipt: str


async def receipt_of(node: Node, reservation_id: str, signer: ReceiptSigner) -> str:
    view = await node.reservations.get(reservation_id)
    receipt: str = reservation_body(view, signer)["receipt"]
    return receipt


@asynccontextmanager
async def after_the_loss(
    redis_url: str, database_url: str, *, quantity: int = 5, **changes: object
) -> AsyncIterator[tuple[Node, Lost]]:
    """A service that lost Redis before the writer had seen a hold of a fast pool."""
    settings = await settings_for(redis_url, database_url, shard_count=SHARDS)
    signer = (await bootstrap.load_secrets(settings)).signer
    async with opened(settings) as node:
        for pool in ("fast", "other"):
            await node.create(pool, quantity, durability=Durability.FAST, per_buyer_limit=2)
        await node.is_applied()
        await node.stop_writing()
        lost_id = await node.hold("fast", "lost", quantity=2)
        lost = Lost(lost_id, await receipt_of(node, lost_id, signer))
        with raw(redis_url) as client:
            client.flushall()
        for shard in range(SHARDS):
            node.gate.lost(shard)
            await node.gate.opened(shard)
        node.write()
        with pytest.raises(errors.UnknownReservation):
            await node.reservations.get(lost.id)
        yield node, lost


async def settled(node: Node) -> None:
    await node.is_applied()
    report = await node.reconciler.report()
    assert report["ok"], report


async def refunds(node: Node) -> list[tuple[str, str, str, int]]:
    rows = await node.stores.queries.refunds(0, 100)
    return [(row.reservation_id, row.payment_ref, row.buyer, row.quantity) for row in rows]


async def test_what_was_promised_is_sold(valkey_url, database_url):
    async with after_the_loss(valkey_url, database_url) as (node, lost):
        first = await node.reservations.confirm(lost.id, "pay-1", lost.receipt)
        assert not first.replayed
        assert first.view.record.state is ReservationState.CONFIRMED
        assert (first.view.record.buyer, first.view.record.quantity) == ("buyer-lost", 2)
        stored = await node.stores.queries.reservation(lost.id)
        assert stored is not None, "it is in SQL when it is answered"
        assert stored.order_no == first.view.order_no
        for receipt in (lost.receipt, None):
            again = await node.reservations.confirm(lost.id, "pay-1", receipt)
            assert again.replayed
            assert again.view.record == first.view.record
        with pytest.raises(errors.AlreadyConfirmed):
            await node.reservations.confirm(lost.id, "pay-2", lost.receipt)
        assert (await node.pools.get("fast")).counters.sold == 2
        assert await refunds(node) == []
        await settled(node)


async def test_a_sale_of_a_receipt_survives_the_next_loss(valkey_url, database_url):
    async with after_the_loss(valkey_url, database_url) as (node, lost):
        first = await node.reservations.confirm(lost.id, "pay-1", lost.receipt)
        with raw(valkey_url) as client:
            client.flushall()
        for shard in range(SHARDS):
            node.gate.lost(shard)
            await node.gate.opened(shard)
        again = await node.reservations.confirm(lost.id, "pay-1", lost.receipt)
        assert again.replayed
        assert again.view.record == first.view.record
        await settled(node)


async def test_many_confirmations_at_once_sell_once(valkey_url, database_url):
    async with after_the_loss(valkey_url, database_url) as (node, lost):
        answers = await asyncio.gather(
            *(node.reservations.confirm(lost.id, f"pay-{n % 2}", lost.receipt) for n in range(8)),
            return_exceptions=True,
        )
        kinds = (errors.AlreadyConfirmed, errors.Unavailable, errors.PaymentRefUsed)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        assert all(isinstance(failure, kinds) for failure in failures), failures
        sold = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len({answer.view.record.payment_ref for answer in sold}) == 1
        assert (await node.pools.get("fast")).counters.sold == 2
        await settled(node)


async def test_without_stock_the_refund_is_on_record_and_stays_due(valkey_url, database_url):
    async with after_the_loss(valkey_url, database_url, quantity=2) as (node, lost):
        taken = await node.hold("fast", "quicker", quantity=1)
        for _ in range(2):
            with pytest.raises(errors.RefundDue):
                await node.reservations.confirm(lost.id, "pay-1", lost.receipt)
            assert await refunds(node) == [(lost.id, "pay-1", "buyer-lost", 2)]
        await node.reservations.cancel(taken)
        for receipt in (lost.receipt, None):  # the money is on its way, whatever there is now
            with pytest.raises(errors.RefundDue):
                await node.reservations.confirm(lost.id, "pay-1", receipt)
        with raw(valkey_url) as client:
            client.flushall()
        for shard in range(SHARDS):
            node.gate.lost(shard)
            await node.gate.opened(shard)
        with pytest.raises(errors.RefundDue):
            await node.reservations.confirm(lost.id, "pay-1", lost.receipt)
        with pytest.raises(errors.PaymentRefUsed):
            await node.reservations.confirm(taken, "pay-1")
        await node.reservations.confirm(lost.id, "pay-2", lost.receipt)
        assert await refunds(node) == [(lost.id, "pay-1", "buyer-lost", 2)]
        await settled(node)


async def test_the_buyers_limit_holds_for_receipts(valkey_url, database_url):
    async with after_the_loss(valkey_url, database_url) as (node, lost):
        await node.hold("fast", "again", quantity=1, buyer="buyer-lost")
        with pytest.raises(errors.RefundDue):
            await node.reservations.confirm(lost.id, "pay-1", lost.receipt)
        await settled(node)


async def test_a_receipt_proves_nothing_else(valkey_url, database_url):
    async with after_the_loss(valkey_url, database_url) as (node, lost):
        homes = {shard_of(pool, SHARDS) for pool in ("fast", "other")}
        payment = next(f"p{n}" for n in range(99) if shard_of(f"p{n}", SHARDS) not in homes)
        elsewhere = lost.id.replace("fast~", "other~")
        with pytest.raises(errors.UnknownReservation):
            await node.reservations.confirm(elsewhere, payment, lost.receipt)
        with pytest.raises(errors.UnknownReservation):
            await node.reservations.confirm(lost.id, payment)
        for forged in ("", "k1.AAAA", lost.receipt[:-4], "x" + lost.receipt, "é"):
            with pytest.raises(errors.InvalidRequest) as refusal:
                await node.reservations.confirm(lost.id, payment, forged)
            assert refusal.value.extra["errors"][0]["field"] == "receipt"
        for pool in ("fast", "other"):
            counters = (await node.pools.get(pool)).counters
            assert (counters.available, counters.sold) == (5, 0)
        assert await refunds(node) == []
        # And the payment, claimed in a shard of its own, is not spent: another still takes it.
        held = await node.hold("other", "right")
        await node.reservations.confirm(held, payment, "nonsense does not matter where it is known")
        await settled(node)


async def test_another_pools_hold_under_the_same_key_is_left_alone(valkey_url, database_url):
    """The shop reused the key for another pool of the shard once its first hold was lost."""
    settings = await settings_for(valkey_url, database_url)
    signer = (await bootstrap.load_secrets(settings)).signer
    async with opened(settings) as node:
        await node.create("fast", 5, durability=Durability.FAST)
        await node.create("other", 5)
        theirs = await node.hold("other", "lost")
        lost_id = theirs.replace("other~", "fast~")
        receipt = signer.sign(lost_id, "buyer-lost", 2, "1795311438974\t1\t7")
        with pytest.raises(errors.RefundDue):
            await node.reservations.confirm(lost_id, "pay-1", receipt)
        confirmed = await node.reservations.confirm(theirs, "pay-2")
        assert confirmed.view.record.pool == "other"
        assert await refunds(node) == [(lost_id, "pay-1", "buyer-lost", 2)]
        await settled(node)


async def test_a_receipt_of_a_pool_that_never_was(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url)
    signer = (await bootstrap.load_secrets(settings)).signer
    async with opened(settings) as node:
        stranger = f"nowhere~{'A' * 16}"
        receipt = signer.sign(stranger, "ann", 1, "1795311438974\t1\t7")
        with pytest.raises(errors.UnknownReservation):
            await node.reservations.confirm(stranger, "pay-1", receipt)
        assert await refunds(node) == []


async def test_receipts_of_an_older_key_are_honoured_until_it_is_dropped(valkey_url, sqlite_url):
    async with after_the_loss(valkey_url, sqlite_url) as (node, lost):
        old = ReceiptSigner({"old": b"old-secret-of-the-shop"}, "old")
        claims = (await bootstrap.load_secrets(node.settings)).signer.verify(lost.receipt)
        assert claims is not None
        stamp = f"{claims.deadline_ms}\t{claims.generation}\t{claims.seq}"
        receipt = old.sign(lost.id, claims.buyer, claims.quantity, stamp)
        keys = {
            "dropped": "new:new-secret-of-the-shop",
            "rotated": "new:new-secret-of-the-shop,old:old-secret-of-the-shop",
        }
        for name, text in keys.items():
            settings = node.settings.model_copy(update={"receipt_keys": SecretStr(text)})
            loaded = await bootstrap.load_secrets(settings)
            held = loaded.signer.sign("p~x", "a", 1, stamp)
            assert held.startswith("new."), "the first one signs"
            async with opened(settings, writing=False) as other:
                if name == "dropped":
                    with pytest.raises(errors.InvalidRequest):
                        await other.reservations.confirm(lost.id, "pay-1", receipt)
                else:
                    await other.reservations.confirm(lost.id, "pay-1", receipt)
        await settled(node)
