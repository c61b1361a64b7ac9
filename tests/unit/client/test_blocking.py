"""The blocking client has every call of the other, and nothing in it waits."""

from __future__ import annotations

import asyncio
import inspect

import httpx
import pytest

from flashstock.client import (
    Attests,
    BlockingClient,
    BlockingHttpxTransport,
    Client,
    HttpxTransport,
)
from tests.unit.client.scripted import HELD, answer

CALLS = sorted(
    name
    for name, member in inspect.getmembers(Client, inspect.isfunction)
    if not name.startswith("_")
)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_there_under_its_own_signature(name):
    waiting, blocking = getattr(Client, name), getattr(BlockingClient, name)
    assert blocking.__wrapped__ is waiting
    assert inspect.signature(blocking) == inspect.signature(waiting)
    assert inspect.isasyncgenfunction(waiting) == inspect.isgeneratorfunction(blocking)


def test_there_are_calls_to_look_at():
    assert {"reserve", "confirm", "refunds", "ship"} <= set(CALLS)


def test_a_transport_that_waits_is_refused():
    class Waiting(BlockingHttpxTransport):
        async def open(self) -> None:
            await asyncio.sleep(0)

    with (
        pytest.raises(RuntimeError, match="must not wait"),
        BlockingClient("http://shop.example", transport=Waiting()),
    ):
        pass


async def test_a_client_of_httpx_that_was_lent_is_left_open(service):
    service.answers = [answer(HELD)]
    async with httpx.AsyncClient(headers={"X-Mine": "yes"}) as lent:
        async with Client(service.url, transport=HttpxTransport(client=lent)) as client:
            await client.reservation("p~1")
        assert not lent.is_closed
    assert service.received[0][2]["X-Mine"] == "yes"


async def test_a_blocking_client_of_httpx_that_was_lent_is_left_open(service):
    service.answers = [answer(HELD)]

    def look(lent: httpx.Client) -> None:
        transport = BlockingHttpxTransport(client=lent)
        with BlockingClient(service.url, transport=transport) as client:
            client.reservation("p~1")

    with httpx.Client() as lent:
        await asyncio.to_thread(look, lent)
        assert not lent.is_closed


async def test_what_the_shop_attests_goes_with_the_request(service, client_of):
    service.answers = [answer(HELD, 201)]
    async with client_of(service) as client:
        await client.reserve("p", "b", 1, "k", attests=Attests(level=3, channel="app"))
    assert service.bodies == [
        '{"pool":"p","buyer":"b","quantity":1,"attests":{"level":3,"channel":"app"}}'
    ]
