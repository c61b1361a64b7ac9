"""A real HTTP server that answers what the test tells it to, and a sleep that takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

HELD: dict[str, Any] = {
    "id": "p~0123456789abcdef",
    "pool": "p",
    "buyer": "b",
    "quantity": 2,
    "state": "held",
    "expires_at": "2026-11-22T03:00:00.123Z",
    "receipt": "k.x",
    "a_member_of_a_later_version": 1,
}
SOLD_OUT = {"code": "sold_out", "title": "T", "status": 409, "detail": "d", "available": 0}
BUSY = {"code": "overloaded", "title": "T", "status": 503}

Answer = Callable[[], web.StreamResponse]


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: web.json_response(body, status=status, headers=named)


@dataclass
class Service:
    """Answers in turn, the last one for ever; ``None`` closes the connection instead."""

    url: str
    answers: list[Answer | None] = field(default_factory=list)
    received: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.received.append((request.method, request.raw_path, dict(request.headers), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return answer()

    @property
    def bodies(self) -> list[str]:
        return [body for _, _, _, body in self.received]


@dataclass
class Sleeper:
    """Notes how long it was asked to sleep."""

    waits: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    def block(self, seconds: float) -> None:
        self.waits.append(seconds)
