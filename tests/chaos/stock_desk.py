"""Callers of the stock book who repeat every question until it is decided, and remember it.

What they were told is added up without the service's help: where each unit of each SKU must be when
everything has come to rest. That is the other half of the proof, beside the service's own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

PATIENCE_S = 60.0
PAUSE_S = (0.02, 0.15)
PUT_OFF = frozenset({401, 502, 503, 504})
"""401: no key is revoked here, so that worker has not heard of a new one yet."""


@dataclass(frozen=True)
class Answer:
    """What was decided."""

    status: int
    body: dict[str, Any]
    replayed: bool

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def code(self) -> str:
        return str(self.body.get("code", ""))


class NeverDecided(AssertionError):
    """A question that nobody answered for as long as we had patience."""


class Desk:
    """One caller with a key of his own.

    Args:
        tally: counts answers and what was put off.
    """

    def __init__(self, client: httpx.AsyncClient, api_key: str, seed: str, tally: Tally) -> None:
        self._client = client
        self._authorization = f"Bearer {api_key}"
        self._random = Random(seed)
        self._seed = seed
        self._tally = tally
        self._count = 0

    def key(self) -> str:
        """One that nobody has used."""
        self._count += 1
        return f"{self._seed}-{self._count}"

    async def ask(self, method: str, path: str, body: Any = None, *, key: str = "") -> Answer:
        """The decision, asked for under one key however often it takes.

        Raises:
            NeverDecided: nobody could say. An answer of 500 is put down as a violation.
        """
        headers = {
            "Authorization": self._authorization,
            "Idempotency-Key": key or self.key(),
        }
        give_up_at = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                answer = await self._client.request(method, path, json=body, headers=headers)
            except httpx.TransportError:
                self._tally.unanswered += 1
            else:
                if answer.status_code not in PUT_OFF:
                    return self._decided(method, path, answer)
                self._tally.put_off += 1
            if asyncio.get_running_loop().time() > give_up_at:
                raise NeverDecided(f"{method} {path} was never decided")
            await asyncio.sleep(self._random.uniform(*PAUSE_S))

    def _decided(self, method: str, path: str, answer: httpx.Response) -> Answer:
        body = answer.json()
        replayed = answer.headers.get("idempotency-replayed") == "true"
        decided = Answer(answer.status_code, body, replayed)
        if decided.status >= 500:
            self._tally.violations.append(f"{method} {path}: {answer.status_code} {answer.text}")
        if method == "POST":
            self._tally.refused[decided.code] += not decided.ok
            self._tally.done[path.rsplit("/", 1)[-1]] += decided.ok
        return decided

    async def done(self, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        """The body of an answer that nothing may refuse."""
        answer = await self.ask(method, path, body, key=key)
        assert answer.ok, f"{method} {path}: {answer.status} {answer.body}"
        return answer.body


@dataclass
class Bought:
    """An order as we were told of it, in its own units."""

    order_no: str
    pool: str
    quantity: int
    shipped: int = 0
    came_back: int = 0
    withdrawn: int = 0


@dataclass
class Tally:
    """Everything that was decided, added up by ourselves.

    Args:
        needs: pool → SKU → units of it that one unit of the pool takes.
    """

    units: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(SKU, state) → units in that state over all locations, by movements alone."""
    needs: dict[str, dict[str, int]] = field(default_factory=dict)
    orders: dict[str, Bought] = field(default_factory=dict)
    goods_back: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(SKU, state) → units that came back from buyers."""
    reversed: set[int] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    """By the last word of the path."""
    refused: Counter[str] = field(default_factory=Counter)
    """By the code of the problem."""
    unanswered: int = 0
    put_off: int = 0
    proofs: int = 0
    violations: list[str] = field(default_factory=list)

    def move(self, sku: str, quantity: int, source: str, target: str) -> None:
        """Count a movement that was acknowledged; an empty state is outside."""
        for state, units in ((source, -quantity), (target, quantity)):
            if state:
                self.units[sku, state] += units

    def expected(self, sku: str) -> dict[str, int]:
        """Units by state once no pool is open and nothing is under way."""
        states = Counter({state: n for (of, state), n in self.units.items() if of == sku})
        for order in self.orders.values():
            each = self.needs.get(order.pool, {}).get(sku, 0)
            sold = order.quantity - order.withdrawn
            states["available"] -= sold * each
            states["campaign"] += (sold - order.shipped) * each
        for (of, state), units in self.goods_back.items():
            if of == sku:
                states[state] += units
        return {state: units for state, units in states.items() if units}

    def sold(self, code: str) -> int:
        """Units that buyers of a campaign have paid for, gifts left out."""
        return sum(
            order.quantity for order in self.orders.values() if order.pool.partition("-")[0] == code
        )
