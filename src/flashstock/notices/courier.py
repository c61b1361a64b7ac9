"""The courier: takes what the outbox holds to those who asked for it, at least once.

Each endpoint is served by one courier at a time (a lease in its row), so its webhooks go out one
after the other, in the order in which they were written. Trouble with an endpoint (no answer, a
5xx) holds back what comes after for some tries, so that the order stays; what an endpoint refuses
for itself (another 4xx) does not. Couriers may run in as many processes as there are.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy import delete, exists, func, not_, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import reading, writing
from flashstock.notices.schedule import ORDERED_TRIES, TRIES_MAX, retry_delay_ms
from flashstock.notices.sender import Outcome, Sender
from flashstock.notices.signing import signed_headers
from flashstock.notices.tables import (
    IS_PENDING,
    webhook_deliveries,
    webhook_endpoints,
    webhook_events,
)
from flashstock.rounds import costs_one_round

INTERVAL_S: Final = 0.5
LEASE_MS: Final = 30_000
"""Longer than one attempt may take; renewed with each result."""
DELIVERIES_PER_TURN: Final = 50
ENDPOINTS_AT_ONCE: Final = 8
KEPT_MS: Final = 30 * 24 * 3_600_000
"""How long the log of deliveries is kept."""
PURGED_AT_ONCE: Final = 1_000
PURGE_EVERY_ROUNDS: Final = 600

_GONE: Final = 410
_ABOUT_THE_ENDPOINT: Final = frozenset({401, 403, 404, 407, 408, 425, 429})
"""Statuses below 500 that say nothing of the one webhook they answer."""

logger = logging.getLogger(__name__)


class Courier:
    """Delivers until cancelled. Being cut off anywhere costs a repetition at most.

    Args:
        owner: a name that no other process has.
        clock: ms since the epoch.
        dice: as of ``random.random``.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        sender: Sender,
        owner: str,
        clock: Callable[[], int],
        *,
        dice: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._sender = sender
        self._owner = owner
        self._clock = clock
        self._dice = dice
        self._sleep = sleep
        self._rounds = 0

    async def run(self) -> None:
        """Round after round; what a round meets is the next one's business."""
        try:
            while True:
                sent = 0
                with costs_one_round(logger, "no webhooks this time"):
                    sent = await self.round()
                if not sent:
                    await self._sleep(INTERVAL_S)
        finally:
            await self._sender.close()

    async def round(self) -> int:
        """Deliver what is due; how many attempts were made.

        Raises:
            LedgerUnavailable: what was under way is sent again, after its lease.
        """
        self._rounds += 1
        if self._rounds % PURGE_EVERY_ROUNDS == 1:
            await self._purge()
        waiting = await self._endpoints_with_work()
        turn = asyncio.Semaphore(ENDPOINTS_AT_ONCE)

        async def serve(endpoint: str) -> int:
            async with turn:
                return await self._serve(endpoint)

        return sum(await asyncio.gather(*(serve(endpoint) for endpoint in waiting)))

    async def _endpoints_with_work(self) -> list[str]:
        now_ms = self._clock()
        due = exists().where(
            webhook_deliveries.c.endpoint == webhook_endpoints.c.id,
            text(IS_PENDING),
            webhook_deliveries.c.next_try_at_ms <= now_ms,
        )
        statement = select(webhook_endpoints.c.id).where(
            webhook_endpoints.c.enabled, webhook_endpoints.c.courier_until_ms <= now_ms, due
        )
        async with reading(self._engine) as connection:
            return list((await connection.execute(statement)).scalars())

    async def _serve(self, endpoint: str) -> int:
        """Take the endpoint's lease and deliver in order, until nothing is due or the turn ends."""
        if await self._next(endpoint) is None or not await self._claim(endpoint):
            return 0
        attempts = 0
        try:
            while attempts < DELIVERIES_PER_TURN:
                row = await self._next(endpoint)
                if row is None:
                    break
                attempts += 1
                outcome = await self._attempt(row)
                if not await self._record(row, outcome):
                    break
        finally:
            await self._release(endpoint)
        return attempts

    async def _claim(self, endpoint: str) -> bool:
        now_ms = self._clock()
        claim = (
            update(webhook_endpoints)
            .where(
                webhook_endpoints.c.id == endpoint,
                webhook_endpoints.c.enabled,
                webhook_endpoints.c.courier_until_ms <= now_ms,
            )
            .values(courier=self._owner, courier_until_ms=now_ms + LEASE_MS)
        )
        async with writing(self._engine) as connection:
            return (await connection.execute(claim)).rowcount == 1

    async def _release(self, endpoint: str) -> None:
        async with writing(self._engine) as connection:
            await connection.execute(
                update(webhook_endpoints)
                .where(
                    webhook_endpoints.c.id == endpoint, webhook_endpoints.c.courier == self._owner
                )
                .values(courier="", courier_until_ms=0)
            )

    async def _next(self, endpoint: str) -> Any | None:
        """The delivery whose turn it is, with what it takes to send it."""
        ahead = webhook_deliveries.alias("ahead")
        head = (
            select(func.min(ahead.c.number))
            .where(ahead.c.endpoint == endpoint, text(f"ahead.{IS_PENDING}"), ahead.c.holds_back)
            .scalar_subquery()
        )
        statement = (
            select(
                webhook_deliveries.c.number,
                webhook_deliveries.c.endpoint,
                webhook_deliveries.c.attempts,
                webhook_deliveries.c.tries_left,
                webhook_events.c.id.label("event_id"),
                webhook_events.c.body,
                webhook_endpoints.c.url,
                webhook_endpoints.c.secret,
                webhook_endpoints.c.previous_secret,
                webhook_endpoints.c.previous_until_ms,
            )
            .join(webhook_events, webhook_events.c.number == webhook_deliveries.c.event)
            .join(webhook_endpoints, webhook_endpoints.c.id == webhook_deliveries.c.endpoint)
            .where(
                webhook_deliveries.c.endpoint == endpoint,
                text(f"webhook_deliveries.{IS_PENDING}"),
                webhook_deliveries.c.next_try_at_ms <= self._clock(),
                or_(not_(webhook_deliveries.c.holds_back), webhook_deliveries.c.number == head),
            )
            .order_by(webhook_deliveries.c.number)
            .limit(1)
        )
        async with reading(self._engine) as connection:
            return (await connection.execute(statement)).first()

    async def _attempt(self, row: Any) -> Outcome:
        now_ms = self._clock()
        signing = [row.secret]
        if row.previous_secret is not None and row.previous_until_ms > now_ms:
            signing.append(row.previous_secret)
        headers = signed_headers(row.event_id, now_ms, row.body, signing)
        return await self._sender.send(row.url, headers, row.body)

    async def _record(self, row: Any, outcome: Outcome) -> bool:
        """Note what became of an attempt; False where the lease was lost meanwhile."""
        now_ms = self._clock()
        values = self._after(row, outcome, now_ms)
        async with writing(self._engine) as connection:
            # Whoever else made the same attempt after a lease ran out has counted it.
            await connection.execute(
                update(webhook_deliveries)
                .where(
                    webhook_deliveries.c.number == row.number,
                    webhook_deliveries.c.attempts == row.attempts,
                    text(IS_PENDING),
                )
                .values(values)
            )
            if outcome.status == _GONE:
                await _disable(connection, row.endpoint, now_ms)
                return False
            renewed = await connection.execute(
                update(webhook_endpoints)
                .where(
                    webhook_endpoints.c.id == row.endpoint,
                    webhook_endpoints.c.courier == self._owner,
                    webhook_endpoints.c.enabled,
                )
                .values(courier_until_ms=now_ms + LEASE_MS)
            )
            return renewed.rowcount == 1

    def _after(self, row: Any, outcome: Outcome, now_ms: int) -> dict[str, Any]:
        values: dict[str, Any] = {
            "attempts": row.attempts + 1,
            "status_code": outcome.status,
            "problem": outcome.problem,
            "tried_at_ms": now_ms,
        }
        if outcome.delivered:
            return values | {"state": "delivered"}
        left = row.tries_left - 1
        tries = TRIES_MAX - left
        delay_ms = retry_delay_ms(tries, self._dice(), outcome.retry_after_ms)
        values |= {
            "tries_left": left,
            "state": "pending" if left else "dead",
            "next_try_at_ms": now_ms + delay_ms,
        }
        if not _about_the_endpoint(outcome) or tries >= ORDERED_TRIES:
            values["holds_back"] = False
        return values

    async def _purge(self) -> None:
        """Forget what was delivered, or given up, long ago; a bounded piece of it."""
        before_ms = self._clock() - KEPT_MS
        old = (
            select(webhook_deliveries.c.number)
            .join(webhook_events, webhook_events.c.number == webhook_deliveries.c.event)
            .where(
                webhook_events.c.at_ms < before_ms,
                webhook_deliveries.c.state != "pending",
            )
            .limit(PURGED_AT_ONCE)
        )
        needed = exists().where(webhook_deliveries.c.event == webhook_events.c.number)
        async with writing(self._engine) as connection:
            await connection.execute(
                delete(webhook_deliveries).where(webhook_deliveries.c.number.in_(old))
            )
            await connection.execute(
                delete(webhook_events).where(webhook_events.c.at_ms < before_ms, not_(needed))
            )


def _about_the_endpoint(outcome: Outcome) -> bool:
    """Whether the next webhook would probably fare no better, so that it had better wait."""
    status = outcome.status
    return status is None or status >= 500 or status < 400 or status in _ABOUT_THE_ENDPOINT


async def _disable(connection: AsyncConnection, endpoint: str, now_ms: int) -> None:
    """410 Gone: the receiver wants nothing any more."""
    reason = "it answered 410 Gone"
    await connection.execute(
        update(webhook_endpoints)
        .where(webhook_endpoints.c.id == endpoint)
        .values(
            enabled=False,
            disabled_reason=reason,
            courier="",
            courier_until_ms=0,
            updated_at_ms=now_ms,
        )
    )
    await connection.execute(
        update(webhook_deliveries)
        .where(webhook_deliveries.c.endpoint == endpoint, text(IS_PENDING))
        .values(state="dead", problem=reason, tries_left=0)
    )
