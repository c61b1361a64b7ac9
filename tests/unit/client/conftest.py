"""Every test of the client runs over httpx, over the crowd's transport, and blocking."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from flashstock.client import BlockingClient, Client, CrowdTransport
from tests.unit.client.scripted import Service, Sleeper

ClientOf = Callable[..., Any]


class InThread:
    """A blocking client to be awaited: each of its calls runs in a thread."""

    def __init__(self, client: BlockingClient) -> None:
        self._client = client

    async def __aenter__(self) -> InThread:
        await asyncio.to_thread(self._client.__enter__)
        return self

    async def __aexit__(self, *failure: Any) -> None:
        await asyncio.to_thread(self._client.__exit__, *failure)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(call, *args, **kwargs)

        async def one_by_one(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for found in await asyncio.to_thread(lambda: list(call(*args, **kwargs))):
                yield found

        return one_by_one if inspect.isgeneratorfunction(call) else awaited


def make(kind: str, url: str, sleeper: Sleeper | None = None, **more: Any) -> Any:
    sleeper = sleeper or Sleeper()
    if kind == "blocking":
        made = BlockingClient(url, random=Random(1), sleep=sleeper.block, **more)
        return InThread(made)
    if kind == "crowd":
        timeout_ms = more.pop("timeout_ms", 10_000)
        more["transport"] = CrowdTransport(timeout_ms=timeout_ms)
    return Client(url, random=Random(1), sleep=sleeper, **more)


@pytest.fixture(params=["httpx", "crowd", "blocking"])
def client_at(request: pytest.FixtureRequest) -> ClientOf:
    """Makes a client of an address."""
    return lambda url, *args, **more: make(request.param, url, *args, **more)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    scripted = Service("")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", scripted.handle)
    server = TestServer(app)
    await server.start_server()
    scripted.url = str(server.make_url("")).rstrip("/")
    yield scripted
    await server.close()


@pytest.fixture
def client_of(client_at: ClientOf) -> ClientOf:
    """Makes a client of a scripted service."""
    return lambda service, *args, **more: client_at(service.url, *args, **more)
