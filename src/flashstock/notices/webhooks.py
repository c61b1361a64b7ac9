"""Endpoints and the log of what was delivered to them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import (
    InvalidRequest,
    TooManyWebhooks,
    UnknownDelivery,
    UnknownWebhook,
    WebhookDisabled,
)
from flashstock.ledger.engine import reading, writing
from flashstock.notices.outbox import announce_test
from flashstock.notices.schedule import TRIES_MAX
from flashstock.notices.sender import url_problem
from flashstock.notices.signing import new_secret
from flashstock.notices.tables import (
    IS_PENDING,
    webhook_deliveries,
    webhook_endpoints,
    webhook_events,
)

WEBHOOKS_MAX: Final = 100
"""Endpoints, at most: each event is written once for every one that asked for it."""
WEBHOOK_ID_PATTERN: Final = r"^wh_[0-9a-f]{16}$"
PREVIOUS_SECRET_MS: Final = 24 * 3_600_000
"""How long both signatures are sent after a rotation."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An endpoint, without its secret."""

    id: str
    url: str
    topics: tuple[str, ...]
    enabled: bool
    disabled_reason: str
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint, and how far it has come."""

    id: int
    webhook: str
    event_id: str
    topic: str
    state: str
    attempts: int
    status_code: int | None
    problem: str
    created_at_ms: int
    tried_at_ms: int | None
    next_try_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What has not reached those who asked for it."""

    disabled_endpoints: int
    pending: int
    oldest_pending_at_ms: int | None


class Webhooks:
    """What callers may do with webhooks. Methods raise ``LedgerUnavailable`` where SQL is away.

    Args:
        clock: ms since the epoch.
        private_allowed: whether endpoints may be private addresses.
    """

    def __init__(
        self, engine: AsyncEngine, clock: Callable[[], int], *, private_allowed: bool
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._private_allowed = private_allowed

    async def backlog(self) -> Backlog:
        """How many endpoints are told nothing, and what waits for the others."""
        disabled = select(func.count()).where(~webhook_endpoints.c.enabled).scalar_subquery()
        waiting = (
            select(func.count(), func.min(webhook_deliveries.c.created_at_ms), disabled)
            .join(webhook_endpoints, webhook_endpoints.c.id == webhook_deliveries.c.endpoint)
            .where(text(IS_PENDING), webhook_endpoints.c.enabled)
        )
        async with reading(self._engine) as connection:
            pending, oldest_ms, disabled_endpoints = (await connection.execute(waiting)).one()
        return Backlog(disabled_endpoints, pending, oldest_ms)

    async def create(self, url: str, topics: Sequence[str]) -> tuple[Webhook, str]:
        """A new endpoint and its secret, which is not shown again.

        Raises:
            InvalidRequest: webhooks can't go to that URL. TooManyWebhooks: there are enough.
        """
        problem = url_problem(url, private_allowed=self._private_allowed)
        if problem is not None:
            raise InvalidRequest(f"url: {problem}", errors=[{"field": "url", "problem": problem}])
        now_ms, secret = self._clock(), new_secret()
        webhook = f"wh_{secrets.token_hex(8)}"
        row = {
            "id": webhook,
            "url": url,
            "topics": orjson.dumps(sorted(set(topics))).decode(),
            "secret": secret,
            "enabled": True,
            "created_at_ms": now_ms,
            "updated_at_ms": now_ms,
        }
        async with writing(self._engine) as connection:
            counted = await connection.execute(select(func.count()).select_from(webhook_endpoints))
            if counted.scalar_one() >= WEBHOOKS_MAX:
                raise TooManyWebhooks(f"there are {WEBHOOKS_MAX} webhooks; delete one first")
            await connection.execute(insert(webhook_endpoints), row)
            return await _found(connection, webhook), secret

    async def all(self) -> list[Webhook]:
        """Every endpoint, oldest first."""
        statement = select(webhook_endpoints).order_by(
            webhook_endpoints.c.created_at_ms, webhook_endpoints.c.id
        )
        async with reading(self._engine) as connection:
            return [_webhook(row) for row in (await connection.execute(statement)).all()]

    async def get(self, webhook: str) -> Webhook:
        """Raises ``UnknownWebhook``."""
        async with reading(self._engine) as connection:
            return await _found(connection, webhook)

    async def delete(self, webhook: str) -> Webhook:
        """Forget an endpoint; what it was not told yet is dead. Raises ``UnknownWebhook``."""
        async with writing(self._engine) as connection:
            found = await _found(connection, webhook)
            await connection.execute(
                update(webhook_deliveries)
                .where(webhook_deliveries.c.endpoint == webhook, text(IS_PENDING))
                .values(state="dead", problem="the webhook was deleted")
            )
            await connection.execute(
                delete(webhook_endpoints).where(webhook_endpoints.c.id == webhook)
            )
            return found

    async def rotate(self, webhook: str) -> tuple[Webhook, str]:
        """A new secret. For a day the old one signs as well. Raises ``UnknownWebhook``."""
        now_ms, secret = self._clock(), new_secret()
        rotated = (
            update(webhook_endpoints)
            .where(webhook_endpoints.c.id == webhook)
            .values(
                previous_secret=webhook_endpoints.c.secret,
                previous_until_ms=now_ms + PREVIOUS_SECRET_MS,
                secret=secret,
                updated_at_ms=now_ms,
            )
        )
        async with writing(self._engine) as connection:
            await connection.execute(rotated)
            return await _found(connection, webhook), secret

    async def enable(self, webhook: str) -> Webhook:
        """Tell an endpoint again that had said it was gone. Raises ``UnknownWebhook``."""
        enabled = (
            update(webhook_endpoints)
            .where(webhook_endpoints.c.id == webhook, webhook_endpoints.c.enabled.is_(False))
            .values(enabled=True, disabled_reason="", updated_at_ms=self._clock())
        )
        async with writing(self._engine) as connection:
            await connection.execute(enabled)
            return await _found(connection, webhook)

    async def test(self, webhook: str, asked_by: str) -> Delivery:
        """Tell one endpoint something that means nothing.

        Raises:
            UnknownWebhook. WebhookDisabled: it is told nothing at present.
        """
        now_ms = self._clock()
        async with writing(self._engine) as connection:
            _must_be_enabled(await _found(connection, webhook))
            payload = {"webhook": webhook, "asked_by": asked_by}
            number = await announce_test(connection, webhook, payload, now_ms)
            return await _delivery(connection, number)

    async def deliveries(
        self, after: int, limit: int, *, webhook: str | None = None, state: str | None = None
    ) -> list[Delivery]:
        """The log, oldest first; of one endpoint, or in one state, where asked for."""
        statement = _DELIVERIES.where(webhook_deliveries.c.number > after)
        if webhook is not None:
            statement = statement.where(webhook_deliveries.c.endpoint == webhook)
        if state is not None:
            statement = statement.where(webhook_deliveries.c.state == state)
        statement = statement.order_by(webhook_deliveries.c.number).limit(limit)
        async with reading(self._engine) as connection:
            return [_as_delivery(row) for row in (await connection.execute(statement)).all()]

    async def retry(self, number: int) -> Delivery:
        """Deliver once more, now, and with a full number of tries; it keeps its event's id.

        Raises:
            UnknownDelivery. UnknownWebhook: its endpoint was deleted. WebhookDisabled.
        """
        again = (
            update(webhook_deliveries)
            .where(webhook_deliveries.c.number == number)
            .values(
                state="pending",
                tries_left=TRIES_MAX,
                next_try_at_ms=self._clock(),
                holds_back=False,
            )
        )
        async with writing(self._engine) as connection:
            delivery = await _delivery(connection, number)
            _must_be_enabled(await _found(connection, delivery.webhook))
            await connection.execute(again)
            return await _delivery(connection, number)


_DELIVERIES: Final = select(
    webhook_deliveries, webhook_events.c.id.label("event_id"), webhook_events.c.topic
).join(webhook_events, webhook_events.c.number == webhook_deliveries.c.event)


async def _found(connection: AsyncConnection, webhook: str) -> Webhook:
    found = await connection.execute(
        select(webhook_endpoints).where(webhook_endpoints.c.id == webhook)
    )
    row = found.first()
    if row is None:
        raise UnknownWebhook(f"there is no webhook {webhook[:100]!r}", webhook=webhook[:100])
    return _webhook(row)


async def _delivery(connection: AsyncConnection, number: int) -> Delivery:
    found = await connection.execute(_DELIVERIES.where(webhook_deliveries.c.number == number))
    row = found.first()
    if row is None:
        raise UnknownDelivery(f"there is no delivery {number}", delivery=number)
    return _as_delivery(row)


def _must_be_enabled(webhook: Webhook) -> None:
    if not webhook.enabled:
        raise WebhookDisabled(
            f"{webhook.id} is told nothing: {webhook.disabled_reason}; enable it first",
            webhook=webhook.id,
        )


def _webhook(row: Any) -> Webhook:
    return Webhook(
        row.id,
        row.url,
        tuple(orjson.loads(row.topics)),
        row.enabled,
        row.disabled_reason,
        row.created_at_ms,
        row.updated_at_ms,
    )


def _as_delivery(row: Any) -> Delivery:
    return Delivery(
        row.number,
        row.endpoint,
        row.event_id,
        row.topic,
        row.state,
        row.attempts,
        row.status_code,
        row.problem,
        row.created_at_ms,
        row.tried_at_ms,
        row.next_try_at_ms if row.state == "pending" else None,
    )
