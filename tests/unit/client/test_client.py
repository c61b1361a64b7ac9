"""The client against a real HTTP server that answers what the test tells it to."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from flashstock.client import Client, Line, PoolOrder, RetryPolicy, UnexpectedAnswer
from flashstock.errors import ConfigurationError, SoldOut, Unavailable
from flashstock.model.states import ReservationState
from tests.unit.client.scripted import BUSY, HELD, SOLD_OUT, Sleeper, answer


async def test_a_hold_is_typed_and_says_whether_it_is_a_replay(service, client_of):
    service.answers = [answer(HELD, 201), answer(HELD, 200, Idempotency_Replayed="true")]
    async with client_of(service, api_key="secret") as client:
        first = await client.reserve("p", "b", 2, "key-1")
        again = await client.reserve("p", "b", 2, "key-1")
    assert first.reservation.state is ReservationState.HELD
    assert first.reservation.expires_at is not None
    assert first.reservation.expires_at.microsecond == 123_000
    assert (first.replayed, again.replayed) == (False, True)
    method, path, headers, body = service.received[0]
    assert (method, path) == ("POST", "/v1/reservations")
    assert body == '{"pool":"p","buyer":"b","quantity":2}'
    assert headers["Idempotency-Key"] == "key-1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer secret"


async def test_a_refusal_is_raised_at_once_by_its_code(service, client_of):
    service.answers = [answer(SOLD_OUT, 409)]
    sleeper = Sleeper()
    async with client_of(service, sleeper) as client:
        with pytest.raises(SoldOut) as refused:
            await client.reserve("p", "b", 1, "k")
    assert refused.value.extra == {"available": 0}
    assert len(service.received) == 1
    assert sleeper.waits == []


async def test_a_503_is_sent_again_with_the_same_key_after_the_time_asked_for(service, client_of):
    service.answers = [answer(BUSY, 503, Retry_After="1"), answer(BUSY, 503), answer(HELD, 201)]
    sleeper = Sleeper()
    async with client_of(service, sleeper) as client:
        granted = await client.reserve("p", "b", 2, "k")
    assert granted.reservation.quantity == 2
    assert [headers["Idempotency-Key"] for _, _, headers, _ in service.received] == ["k"] * 3
    assert len({body for _, _, _, body in service.received}) == 1
    assert sleeper.waits[0] >= 1.0
    assert 0.0 < sleeper.waits[1] < 1.0


async def test_a_connection_that_breaks_before_the_answer_is_tried_again(service, client_of):
    service.answers = [None, None, answer(HELD, 201)]
    async with client_of(service) as client:
        await client.confirm("p~0123456789abcdef", "pay-1")
    assert len(service.received) == 3
    assert {path for _, path, _, _ in service.received} == {
        "/v1/reservations/p~0123456789abcdef/confirm"
    }


async def test_it_gives_up_in_the_end_and_keeps_the_reason(service, client_of):
    service.answers = [answer(BUSY, 503, Retry_After="1")]
    sleeper = Sleeper()
    policy = RetryPolicy(attempts_max=4)
    async with client_of(service, sleeper, retry=policy) as client:
        with pytest.raises(Unavailable) as gone:
            await client.cancel("p~0123456789abcdef")
    assert gone.value.code == "overloaded"
    assert gone.value.extra["retry_after_ms"] == 1_000
    assert len(service.received) == 4
    assert len(sleeper.waits) == 3


async def test_nobody_at_the_address_is_unavailable_and_not_ready(client_at):
    async with client_at(f"http://127.0.0.1:{unused_port()}") as client:
        assert not await client.ready()
        with pytest.raises(Unavailable, match="no answer"):
            await client.pool("p")


async def test_an_answer_that_takes_too_long_counts_as_none(client_at):
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    app = web.Application()
    app.router.add_get("/v1/pools/p", slow)
    server = TestServer(app)
    await server.start_server()
    policy = RetryPolicy(attempts_max=2)
    address = str(server.make_url(""))
    async with client_at(address, timeout_ms=50, retry=policy) as client:
        with pytest.raises(Unavailable):
            await client.pool("p")
    await server.close()


@pytest.mark.parametrize("body", ["not an object", {"id": "p"}, {**HELD, "state": "floating"}])
async def test_a_body_that_is_not_of_the_interface_is_said_so(service, client_of, body):
    service.answers = [answer(body)]
    async with client_of(service) as client:
        with pytest.raises(UnexpectedAnswer):
            await client.reservation("p~0123456789abcdef")


async def test_every_send_is_observed(service, client_of):
    service.answers = [None, answer(SOLD_OUT, 409)]
    seen: list[tuple[str, int | None]] = []

    def observe(purpose: str, status: int | None, seconds: float) -> None:
        assert seconds > 0.0
        seen.append((purpose, status))

    async with client_of(service, observe=observe) as client:
        with pytest.raises(SoldOut):
            await client.reserve("p", "b", 1, "k")
    assert seen == [("reserve", None), ("reserve", 409)]


async def test_names_that_are_no_path_segment_are_quoted(service, client_of):
    service.answers = [answer(BUSY, 404)]
    async with client_of(service) as client:
        with pytest.raises(Unavailable):
            await client.pool("a/b?c d%")
    assert service.received[0][1] == "/v1/pools/a%2Fb%3Fc%20d%25"


async def test_a_redirect_is_not_followed(service, client_of):
    service.answers = [lambda: web.Response(status=302, headers={"Location": "/elsewhere"})]
    async with client_of(service) as client:
        with pytest.raises(UnexpectedAnswer):
            await client.pool("p")
    assert len(service.received) == 1


async def test_pools_and_carts_are_sent_as_the_interface_names_them(service, client_of):
    pool = {"id": "p", "state": "open", "total": 5, "available": 5, "held": 0, "sold": 0}
    cart = {"id": "c", "buyer": "b", "reservations": [HELD]}
    service.answers = [answer(pool, 201), answer(cart, 201), answer(pool), answer(HELD)]
    async with client_of(service) as client:
        await client.open_pool(PoolOrder("p", "sku", 5, hold_seconds=3))
        held = await client.reserve_cart("b", [Line("p", 1), Line("p", 1)], "k")
        grown = await client.adjust("p", 4, "k2")
        await client.return_units(HELD["id"], 1, "k3")
        await client.return_units(HELD["id"], None, "k4", restock=False)
    assert held.reservations[0].quantity == 2
    assert grown.total == 5
    assert [body for _, _, _, body in service.received] == [
        '{"id":"p","sku":"sku","quantity":5,"hold_seconds":3}',
        '{"buyer":"b","lines":[{"pool":"p","quantity":1},{"pool":"p","quantity":1}]}',
        '{"delta":4}',
        '{"quantity":1}',
        '{"restock":false}',
    ]


async def test_refunds_are_read_to_the_last_page(service, client_of):
    refund = {"id": 7, "reservation": "p~1", "pool": "p", "quantity": 1, "payment_ref": "pay"}
    service.answers = [
        answer({"items": [refund], "next_after": 7}),
        answer({"items": [{**refund, "id": 8}], "next_after": None}),
    ]
    async with client_of(service) as client:
        assert [found.id async for found in client.refunds()] == [7, 8]
    assert [path for _, path, _, _ in service.received] == [
        "/v1/ops/refunds?after=0",
        "/v1/ops/refunds?after=7",
    ]


@pytest.mark.parametrize("address", ["", "localhost:8080", "ftp://x"])
def test_an_address_that_is_none_is_refused_at_once(address):
    with pytest.raises(ConfigurationError):
        Client(address)


async def test_a_client_outside_its_context_says_so(client_at):
    with pytest.raises(RuntimeError, match=r"outside `(async )?with`"):
        await client_at("http://127.0.0.1:1").pool("p")
