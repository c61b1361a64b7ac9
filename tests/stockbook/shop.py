"""Whoever uses the stock book over HTTP."""

from __future__ import annotations

from itertools import count
from typing import Any

import httpx

from flashstock.api.openapi import answers
from flashstock.errors import FlashstockError
from tests.unit.api.fakes import Fakes

_keys = count()


class Shop:
    """A client of each role, and short words for what tests do all the time."""

    def __init__(self, fakes: Fakes) -> None:
        self.fakes = fakes

    async def send(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> httpx.Response:
        role, key = options.pop("role", "ops"), options.pop("key", f"key-{next(_keys)}")
        headers = {"idempotency-key": key} if key else {}
        async with self.fakes.client(role) as client:
            return await client.request(method, path, json=body, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> Any:
        response = await self.send("GET", path, **options)
        assert response.status_code == 200, response.text
        return response.json()

    async def post(self, path: str, body: Any = None, status: int = 201, **options: Any) -> Any:
        response = await self.send("POST", path, body, **options)
        assert response.status_code == status, response.text
        return response.json()

    async def put(self, path: str, body: Any, status: int = 200, **options: Any) -> Any:
        response = await self.send("PUT", path, body, **options)
        assert response.status_code == status, response.text
        return response.json()

    async def refused(self, method: str, path: str, body: Any, code: str, **options: Any) -> Any:
        response = await self.send(method, path, body, **options)
        problem = response.json()
        assert problem["code"] == code, problem
        status = next(kind.status for kind in answers(FlashstockError) if kind.code == code)
        assert response.status_code == problem["status"] == status
        return problem

    async def move(self, kind: str, quantity: int, sku: str = "cap", **line: Any) -> Any:
        line = {"sku": sku, "location": "east", "quantity": quantity, **line}
        body = {"kind": kind, "lines": [line], "reason": "a test"}
        return await self.post("/v1/stock/movements", body)

    async def units(self, sku: str = "cap", location: str = "east") -> dict[str, int]:
        """The balances other than 0."""
        stock = await self.get(f"/v1/stock/{sku}")
        [here] = [row for row in stock["locations"] if row["location"] == location]
        left_out = ("virtual_allowance", "changed_by_movement")
        return {n: v for n, v in here.items() if isinstance(v, int) and v and n not in left_out}

    async def proved(self) -> dict[str, Any]:
        """The deep proof, which must hold."""
        report: dict[str, Any] = await self.get("/v1/ops/stock/identity?deep=true")
        assert report["ok"], report["differences"]
        return report
