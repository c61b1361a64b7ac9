"""The outbox: what is to be told is written where what it tells of is written."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

import orjson
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.notices.schedule import TRIES_MAX
from flashstock.notices.tables import webhook_deliveries, webhook_endpoints, webhook_events
from flashstock.notices.topics import TEST, wants
from flashstock.reconcile.explain import time_text

BODY_BYTES_MAX: Final = 64 * 1024
_ID_BYTES: Final = 16


async def announce(
    connection: AsyncConnection, topic: str, payload: Mapping[str, Any], at_ms: int
) -> int:
    """Have every endpoint that asked for this topic told, if the caller's transaction commits.

    Nothing is written where nobody asked. Repeating the call tells twice: call it where the thing
    itself is written once.

    Returns:
        How many endpoints will be told.

    Raises:
        ValueError: the payload is larger than a webhook may be.
    """
    rows = await connection.execute(
        select(webhook_endpoints.c.id, webhook_endpoints.c.topics)
        .where(webhook_endpoints.c.enabled)
        .order_by(webhook_endpoints.c.id)
    )
    told = [row.id for row in rows if wants(orjson.loads(row.topics), topic)]
    if told:
        await _write(connection, topic, payload, at_ms, told)
    return len(told)


async def announce_test(
    connection: AsyncConnection, endpoint: str, payload: Mapping[str, Any], at_ms: int
) -> int:
    """Have one endpoint told something that means nothing; the number of the delivery."""
    return await _write(connection, TEST, payload, at_ms, [endpoint])


async def _write(
    connection: AsyncConnection,
    topic: str,
    payload: Mapping[str, Any],
    at_ms: int,
    endpoints: list[str],
) -> int:
    body = _body(topic, payload, at_ms)
    event = {
        "id": f"msg_{secrets.token_hex(_ID_BYTES)}",
        "topic": topic,
        "body": body,
        "at_ms": at_ms,
    }
    written = await connection.execute(
        insert(webhook_events).returning(webhook_events.c.number), event
    )
    number = int(written.scalar_one())
    deliveries = [
        {
            "event": number,
            "endpoint": endpoint,
            "state": "pending",
            "tries_left": TRIES_MAX,
            "next_try_at_ms": at_ms,
            "holds_back": True,
            "created_at_ms": at_ms,
        }
        for endpoint in endpoints
    ]
    last = 0
    for delivery in deliveries:
        inserted = await connection.execute(
            insert(webhook_deliveries).returning(webhook_deliveries.c.number), delivery
        )
        last = int(inserted.scalar_one())
    return last


def _body(topic: str, payload: Mapping[str, Any], at_ms: int) -> str:
    """Every attempt sends exactly this, so every attempt's signature is of the same text."""
    document = {"type": topic, "timestamp": time_text(at_ms), "data": dict(payload)}
    body = orjson.dumps(document)
    if len(body) > BODY_BYTES_MAX:
        raise ValueError(f"a webhook of {topic} would have {len(body)} bytes")
    return body.decode()
