"""The naive way without its store: what FastAPI and pydantic alone take of it."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import FastAPI, Header, Response

from bench.naive import Reservation

app = FastAPI()


@app.post("/v1/reservations")
async def reserve(
    body: Reservation,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=128)],
) -> Response:
    answer = {
        "id": f"{body.pool}~{idempotency_key}",
        "pool": body.pool,
        "buyer": body.buyer,
        "quantity": body.quantity,
        "state": "held",
        "expires_at_ms": 0,
    }
    return Response(orjson.dumps(answer), 201, media_type="application/json")
