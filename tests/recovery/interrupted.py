"""Stops a node at any one of its steps: every command to Redis, every statement to SQL."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from tests.recovery.node import Node

Interruption = Callable[[], Awaitable[None]]


class Died(Exception):
    """The process is gone."""


async def die(*_: object) -> None:
    raise Died


class Interrupted:
    """Counts what a node asks of its stores, and interrupts it at step number ``at``.

    Args:
        before: whether the step itself is still to come; else only its answer is lost.
        interruption: raises, or returns much later.
    """

    def __init__(self, node: Node, at: int, interruption: Interruption, *, before: bool) -> None:
        self._at = at
        self._interruption = interruption
        self._before = before
        self.steps = 0
        stores = node.stores
        _wrap(stores.servers.clients[0], "execute_command", self._counted)
        pipeline_of = stores.servers.clients[0].pipeline

        def pipeline(*arguments: Any, **options: Any) -> Any:
            made: Any = pipeline_of(*arguments, **options)
            for name in ("execute", "immediate_execute_command"):
                _wrap(made, name, self._counted)
            return made

        stores.servers.clients[0].pipeline = pipeline  # type: ignore[method-assign]
        for part in (stores.ledger, stores.queries, stores.proof):
            for name, _ in inspect.getmembers(part, inspect.iscoroutinefunction):
                if not name.startswith("_"):
                    _wrap(part, name, self._counted)
        for name in ("buyer_totals", "buyer_groups"):
            _wrap_pages(stores.queries, name, self._counted)

    @property
    def fired(self) -> bool:
        return self.steps >= self._at

    async def _counted(self, step: Callable[[], Awaitable[Any]]) -> Any:
        self.steps += 1
        due = self.steps == self._at
        if due and self._before:
            await self._interruption()
        answer = await step()
        if due and not self._before:
            await self._interruption()
        return answer


def _wrap_pages(
    owner: Any, name: str, counted: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
) -> None:
    """The same for what answers in pages: each is a step."""
    original = getattr(owner, name)

    async def wrapped(*arguments: Any, **options: Any) -> AsyncGenerator[Any, None]:
        async with aclosing(original(*arguments, **options)) as pages:
            while (page := await counted(lambda: anext(pages, None))) is not None:
                yield page

    setattr(owner, name, wrapped)


def _wrap(
    owner: Any, name: str, counted: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
) -> None:
    original = getattr(owner, name)

    async def wrapped(*arguments: Any, **options: Any) -> Any:
        return await counted(lambda: original(*arguments, **options))

    setattr(owner, name, wrapped)
