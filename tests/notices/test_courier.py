"""Deliveries to a real receiver: at least once, in order, signed, and given up in the end."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from flashstock.errors import UnknownDelivery, UnknownWebhook, WebhookDisabled
from flashstock.ledger.engine import writing
from flashstock.notices.courier import KEPT_MS, LEASE_MS, Courier
from flashstock.notices.outbox import announce
from flashstock.notices.schedule import DELAY_MS_MAX, ORDERED_TRIES, TRIES_MAX
from flashstock.notices.sender import HttpSender, Outcome
from flashstock.notices.webhooks import Backlog
from tests.notices.receiver import answering, hang, hang_up
from tests.recovery.node import eventually


@pytest.fixture
async def couriers(engine, clock):
    """Makes couriers as if each were another process."""
    made = []

    def make(owner="one", timeout_ms=60_000):
        sender = HttpSender(private_allowed=True, timeout_ms=timeout_ms)
        made.append(sender)
        return Courier(engine, sender, owner, clock, dice=lambda: 0.5)

    yield make
    for sender in made:
        await sender.close()


@pytest.fixture
def courier(couriers):
    return couriers()


@pytest.fixture
def tell(engine, clock):
    async def told(*numbers, topic="order.paid"):
        for number in numbers:
            async with writing(engine) as connection:
                await announce(connection, topic, {"number": number}, clock.now_ms)

    return told


def numbers(receiver):
    return [json.loads(each.body)["data"]["number"] for each in receiver.received]


async def drain(courier):
    while await courier.round():
        pass


async def test_an_event_is_delivered_once_signed_with_the_endpoints_secret(
    webhooks, receiver, courier, tell, clock
):
    clock.now_ms = time.time_ns() // 1_000_000  # the verifier's own clock is the machine's
    _, secret = await webhooks.create(receiver.url, ["order.*"])
    await tell(1)
    assert await courier.round() == 1
    assert await courier.round() == 0
    [received] = receiver.received
    assert received.signed_with(secret)
    document = json.loads(received.body)
    assert (document["type"], document["data"]) == ("order.paid", {"number": 1})
    assert received.headers["content-type"] == "application/json"
    [delivery] = await webhooks.deliveries(0, 10)
    assert (delivery.state, delivery.attempts, delivery.status_code) == ("delivered", 1, 204)
    assert delivery.event_id == received.id
    assert delivery.next_try_at_ms is None


async def test_only_who_asked_is_told_and_only_what_was_committed(
    webhooks, receiver, courier, tell, engine, clock
):
    await webhooks.create(f"{receiver.url}/warnings", ["warning.raised"])
    await webhooks.create(f"{receiver.url}/all", ["*"])
    await tell(1)

    async def fail_after_announcing():
        async with writing(engine) as connection:
            assert await announce(connection, "order.paid", {"number": 2}, clock.now_ms) == 1
            raise RuntimeError("the caller's transaction fails")

    with pytest.raises(RuntimeError):
        await fail_after_announcing()
    await drain(courier)
    assert numbers(receiver) == [1]


async def test_nothing_is_written_where_nobody_asked(webhooks, tell, engine):
    await tell(1)
    assert await webhooks.deliveries(0, 10) == []


@pytest.mark.parametrize(
    "trouble",
    [answering(500), answering(302, location="/elsewhere"), answering(429), hang_up],
    ids=["500", "302", "429", "hang_up"],
)
async def test_trouble_is_tried_again_later_and_keeps_the_order(
    webhooks, receiver, courier, tell, clock, trouble
):
    await webhooks.create(receiver.url, ["*"])
    receiver.behaviours = [trouble]
    await tell(1, 2, 3)
    await drain(courier)
    assert numbers(receiver) == [1], "what comes after waits"
    [first, second, _] = await webhooks.deliveries(0, 10)
    assert (first.state, first.attempts) == ("pending", 1)
    assert first.next_try_at_ms > clock.now_ms
    assert second.attempts == 0
    clock.now_ms = first.next_try_at_ms
    await drain(courier)
    assert numbers(receiver) == [1, 1, 2, 3]
    assert receiver.ids[0] == receiver.ids[1], "a repetition has the id of the first"
    assert {each.state for each in await webhooks.deliveries(0, 10)} == {"delivered"}


async def test_an_endpoint_that_hangs_is_given_up_for_now(webhooks, receiver, couriers, tell):
    await webhooks.create(receiver.url, ["*"])
    receiver.behaviours = [hang]
    await tell(1)
    await couriers(timeout_ms=100).round()
    [delivery] = await webhooks.deliveries(0, 10)
    assert (delivery.state, delivery.status_code) == ("pending", None)
    assert delivery.problem == "no answer in time"


async def test_nobody_listens(webhooks, receiver, courier, tell):
    await webhooks.create("http://127.0.0.1:1/hook", ["*"])
    await webhooks.create(receiver.url, ["*"])
    await tell(1)
    await drain(courier)
    assert numbers(receiver) == [1], "one endpoint's trouble is not another's"


async def test_a_webhook_that_is_refused_for_itself_holds_nobody_back(
    webhooks, receiver, courier, tell
):
    await webhooks.create(receiver.url, ["*"])
    receiver.behaviours = [answering(422)]
    await tell(1, 2)
    await drain(courier)
    assert numbers(receiver) == [1, 2]
    [first, second] = await webhooks.deliveries(0, 10)
    assert (first.state, second.state) == ("pending", "delivered")


async def test_tries_are_bounded_and_the_others_do_not_wait_for_ever(
    webhooks, receiver, courier, tell, clock
):
    await webhooks.create(receiver.url, ["*"])
    receiver.behaviours = [answering(500)] * ORDERED_TRIES
    await tell(1, 2)
    for tries in range(1, ORDERED_TRIES):
        await drain(courier)
        assert numbers(receiver) == [1] * tries
        clock.now_ms += DELAY_MS_MAX
    await drain(courier)
    assert numbers(receiver) == [1] * ORDERED_TRIES + [2], "it has stepped aside"
    receiver.always = answering(500)
    for _ in range(TRIES_MAX):
        clock.now_ms += DELAY_MS_MAX
        await drain(courier)
    [first, _] = await webhooks.deliveries(0, 10)
    assert (first.state, first.attempts) == ("dead", TRIES_MAX)
    assert [each.id for each in await webhooks.deliveries(0, 10, state="dead")] == [first.id]
    receiver.always = answering(200)
    assert (await webhooks.retry(first.id)).state == "pending"
    await drain(courier)
    [first] = await webhooks.deliveries(0, 1)
    assert (first.state, first.attempts) == ("delivered", TRIES_MAX + 1)
    assert await webhooks.deliveries(first.id, 10, webhook="wh_other") == []


async def test_the_backlog_is_what_waits_and_who_is_told_nothing(webhooks, courier, tell, clock):
    assert await webhooks.backlog() == Backlog(0, 0, None)
    await webhooks.create("http://127.0.0.1:9/hooks", ["order.*"])
    written_at_ms = clock.now_ms
    await tell(1, 2)
    clock.now_ms += 5_000
    await tell(3)
    assert await webhooks.backlog() == Backlog(0, 3, written_at_ms)
    await courier.round()
    assert await webhooks.backlog() == Backlog(0, 3, written_at_ms), "nobody took it"


async def test_who_says_it_is_gone_is_told_nothing_until_enabled(webhooks, receiver, courier, tell):
    webhook, _ = await webhooks.create(receiver.url, ["*"])
    receiver.behaviours = [answering(410)]
    await tell(1, 2)
    await drain(courier)
    assert numbers(receiver) == [1]
    assert not (await webhooks.get(webhook.id)).enabled
    assert await webhooks.backlog() == Backlog(1, 0, None)
    dead = await webhooks.deliveries(0, 10)
    assert {each.state for each in dead} == {"dead"}
    for refused in (webhooks.retry(dead[1].id), webhooks.test(webhook.id, "ops")):
        with pytest.raises(WebhookDisabled):
            await refused
    await tell(3)
    await webhooks.enable(webhook.id)
    await webhooks.retry(dead[1].id)
    await drain(courier)
    assert numbers(receiver) == [1, 2], "3 was told while nobody wanted to hear"


async def test_retry_after_is_kept_to(webhooks, receiver, courier, tell, clock):
    await webhooks.create(receiver.url, ["*"])
    receiver.behaviours = [answering(503, retry_after="600")]
    await tell(1)
    await drain(courier)
    [delivery] = await webhooks.deliveries(0, 10)
    assert delivery.next_try_at_ms == clock.now_ms + 600_000


async def test_several_couriers_deliver_once_and_in_order(
    webhooks, receiver, couriers, tell, clock
):
    await webhooks.create(receiver.url, ["*"])
    await tell(*range(12))
    crowd = [couriers(str(number)) for number in range(4)]

    async def is_delivered():
        await asyncio.gather(*(each.round() for each in crowd))
        return {each.state for each in await webhooks.deliveries(0, 20)} == {"delivered"}

    await eventually(is_delivered, "all are delivered")
    assert numbers(receiver) == list(range(12))


async def test_a_courier_that_dies_is_followed_by_another(
    webhooks, receiver, couriers, tell, clock
):
    await webhooks.create(receiver.url, ["*"])
    receiver.behaviours = [hang]
    await tell(1)
    doomed = asyncio.create_task(couriers("doomed").round())
    await receiver.reached.wait()
    other = couriers("other")
    assert await other.round() == 0, "the first one's lease still runs"
    clock.now_ms += LEASE_MS
    assert await other.round() == 1
    doomed.cancel()
    await asyncio.gather(doomed, return_exceptions=True)
    [delivery] = await webhooks.deliveries(0, 10)
    assert (delivery.state, delivery.attempts) == ("delivered", 1)
    assert receiver.ids[0] == receiver.ids[1]


async def test_a_result_that_comes_late_does_not_turn_the_count_back(
    webhooks, receiver, couriers, tell, clock
):
    await webhooks.create(receiver.url, ["*"])
    await tell(1)
    [webhook] = await webhooks.all()
    slow, other = couriers("slow"), couriers("other")
    stale = await slow._next(webhook.id)
    receiver.behaviours = [answering(500), answering(500)]
    for _ in range(2):
        await drain(other)
        clock.now_ms += DELAY_MS_MAX
    before = await webhooks.deliveries(0, 10)
    await slow._record(stale, Outcome(422, "refused"))
    assert await webhooks.deliveries(0, 10) == before
    assert before[0].attempts == 2


async def test_a_rotated_secret_signs_beside_the_old_one_for_a_day(
    webhooks, receiver, courier, tell, clock
):
    clock.now_ms = time.time_ns() // 1_000_000
    webhook, old = await webhooks.create(receiver.url, ["*"])
    _, new = await webhooks.rotate(webhook.id)
    await tell(1)
    await drain(courier)
    assert receiver.received[0].signed_with(old)
    assert receiver.received[0].signed_with(new)
    clock.now_ms += 24 * 3_600_000
    await tell(2)
    await drain(courier)
    assert len(receiver.received[1].headers["webhook-signature"].split(" ")) == 1


async def test_a_test_goes_to_one_endpoint_whatever_it_asked_for(webhooks, receiver, courier):
    webhook, _ = await webhooks.create(receiver.url, ["order.paid"])
    await webhooks.create(f"{receiver.url}/other", ["*"])
    delivery = await webhooks.test(webhook.id, "ops")
    assert (delivery.topic, delivery.webhook) == ("webhook.test", webhook.id)
    await drain(courier)
    [received] = receiver.received
    assert json.loads(received.body)["data"] == {"webhook": webhook.id, "asked_by": "ops"}


async def test_what_is_deleted_is_told_nothing_more(webhooks, receiver, courier, tell):
    webhook, _ = await webhooks.create(receiver.url, ["*"])
    await tell(1)
    await webhooks.delete(webhook.id)
    await drain(courier)
    assert receiver.received == []
    [delivery] = await webhooks.deliveries(0, 10)
    assert delivery.state == "dead"
    with pytest.raises(UnknownWebhook):
        await webhooks.retry(delivery.id)
    with pytest.raises(UnknownDelivery):
        await webhooks.retry(delivery.id + 1)
    with pytest.raises(UnknownWebhook):
        await webhooks.rotate(webhook.id)


async def test_the_log_is_kept_for_a_while_and_not_for_ever(
    webhooks, receiver, couriers, tell, clock
):
    await webhooks.create(receiver.url, ["*"])
    await tell(1)
    await drain(couriers("first"))
    clock.now_ms += KEPT_MS
    receiver.always = answering(500)
    await tell(2)
    await couriers("second").round()
    assert len(await webhooks.deliveries(0, 10)) == 2, "not a moment too soon"
    clock.now_ms += 1
    await couriers("third").round()
    [left] = await webhooks.deliveries(0, 10)
    assert left.state == "pending"
