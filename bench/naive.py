"""The naive way: what a good engineer writes first, and what the suite compares with.

FastAPI with a pydantic body, redis-py's asyncio client with a connection pool, one EVALSHA per
request. The script keeps the same rules as ours: replay by idempotency key, stock, a limit per
buyer, a deadline, and an event on a stream for whoever records it. Nothing here is slowed down on
purpose: uvloop, httptools, hiredis and orjson are all in use.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

import orjson
import redis.asyncio as redis
from fastapi import FastAPI, Header, Request, Response
from pydantic import BaseModel, Field

RESERVE_SCRIPT: Final = """
local earlier = redis.call('HMGET', KEYS[2], 'pool', 'buyer', 'quantity', 'deadline_ms')
if earlier[1] then
  return {2, tonumber(earlier[4])}
end
local rules = redis.call('HMGET', KEYS[1], 'available', 'per_buyer_limit', 'hold_ms')
if not rules[1] then
  return {3, 0}
end
local quantity = tonumber(ARGV[3])
local available = tonumber(rules[1])
if available < quantity then
  return {1, available}
end
local limit = tonumber(rules[2])
local held = tonumber(redis.call('HGET', KEYS[3], ARGV[2]) or '0')
if limit > 0 and held + quantity > limit then
  return {4, limit - held}
end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local deadline_ms = now_ms + tonumber(rules[3])
redis.call('HINCRBY', KEYS[1], 'available', -quantity)
redis.call('HINCRBY', KEYS[1], 'held', quantity)
redis.call('HINCRBY', KEYS[3], ARGV[2], quantity)
redis.call('HSET', KEYS[2], 'pool', ARGV[1], 'buyer', ARGV[2], 'quantity', quantity,
           'state', 'held', 'deadline_ms', deadline_ms)
redis.call('ZADD', KEYS[4], deadline_ms, KEYS[2])
redis.call('XADD', KEYS[5], '*', 'kind', 'held', 'pool', ARGV[1], 'reservation', KEYS[2],
           'buyer', ARGV[2], 'quantity', quantity, 'deadline_ms', deadline_ms)
return {0, deadline_ms}
"""

STATUS_CODES: Final = {0: 201, 1: 409, 2: 200, 3: 404, 4: 409}
REFUSALS: Final = {1: "sold_out", 3: "unknown_pool", 4: "buyer_limit"}


class Reservation(BaseModel):
    """What the buyer sends."""

    pool: str = Field(min_length=1, max_length=64)
    buyer: str = Field(min_length=1, max_length=128)
    quantity: int = Field(ge=1, le=1000)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # The library's own remedy for more requests than connections, at its default size of 50:
    # with a plain pool, everything beyond 100 connections is an error.
    pool = redis.BlockingConnectionPool.from_url(os.environ["NAIVE_REDIS_URL"])
    client = redis.Redis(connection_pool=pool)
    app.state.client = client
    app.state.sha = await client.script_load(RESERVE_SCRIPT)
    yield
    await client.aclose()


async def decided(app: FastAPI, body: Reservation, key: str) -> tuple[int, dict[str, Any]]:
    """The status and the answer, by one call of the script."""
    reservation_id = f"{body.pool}~{key}"
    status, value = await app.state.client.evalsha(
        app.state.sha,
        5,
        f"pool:{body.pool}",
        f"reservation:{reservation_id}",
        f"buyers:{body.pool}",
        "deadlines",
        "log",
        body.pool,
        body.buyer,
        body.quantity,
    )
    if status in REFUSALS:
        answer = {"code": REFUSALS[status], "pool": body.pool, "available": value}
    else:
        answer = {
            "id": reservation_id,
            "pool": body.pool,
            "buyer": body.buyer,
            "quantity": body.quantity,
            "state": "held",
            "expires_at_ms": value,
        }
    return STATUS_CODES[status], answer


app = FastAPI(lifespan=lifespan)


@app.post("/v1/reservations")
async def reserve(
    request: Request,
    body: Reservation,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=128)],
) -> Response:
    status, answer = await decided(request.app, body, idempotency_key)
    return Response(orjson.dumps(answer), status, media_type="application/json")
