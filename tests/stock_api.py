"""The API over real databases: what it answers is held against what it says it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.bootstrap_stock import build_stock_services
from tests.databases import Clock
from tests.unit.api.fakes import Fakes
from tests.unit.api.routes import assert_problem


class Caller:
    """Sends requests with the key of a role."""

    def __init__(self, fakes: Fakes) -> None:
        self.fakes = fakes
        self.stock: Any = fakes.services.stock

    async def send(
        self, method: str, path: str, body: Any = None, *, role: str = "admin", **headers: str
    ) -> httpx.Response:
        """The answer, whatever it is. Bytes are sent as CSV, everything else as JSON."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.fakes.client(role) as client:
            if isinstance(body, bytes):
                sent = {"content-type": "text/csv", **sent}
                return await client.request(method, path, content=body, headers=sent)
            return await client.request(method, path, json=body, headers=sent)

    async def get(self, path: str, model: type[BaseModel], **params: Any) -> Any:
        """The body of an answer that is as the document says."""
        async with self.fakes.client("ops") as client:
            response = await client.get(path, params=params)
        assert response.status_code == 200, response.text
        return held_against(response, model)

    async def refused(self, response: httpx.Response, status: int, code: str) -> dict[str, Any]:
        """The problem."""
        return assert_problem(response, status, code)


def held_against(response: httpx.Response, model: type[BaseModel]) -> Any:
    """The answer's body, every member of it described and nothing missing."""
    body = response.json()
    model.model_validate(body)
    described = set(model.model_json_schema(by_alias=True)["properties"])
    assert set(body) == described, set(body) ^ described
    return body


@asynccontextmanager
async def calling(engine: AsyncEngine, clock: Clock) -> AsyncIterator[Caller]:
    """An API over this database."""
    stock = build_stock_services(engine, clock, lambda _: 0, private_webhooks=True)
    fakes = Fakes(stock=stock)
    await fakes.services.keyring.refresh(fakes.queries)
    yield Caller(fakes)


@pytest.fixture
async def caller(engine: AsyncEngine, clock: Clock) -> AsyncIterator[Caller]:
    async with calling(engine, clock) as made:
        yield made
