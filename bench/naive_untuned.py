"""The naive way as ``pip install fastapi redis`` leaves it: no hiredis, no orjson.

The same request, the same script and the same server as ``naive.py``. redis-py packs and reads in
its own Python, and the answer is a dictionary that FastAPI encodes: what its tutorial shows.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request, Response

sys.modules["hiredis"] = None  # type: ignore[assignment] # for redis-py it is not installed

from bench.naive import Reservation, decided, lifespan  # noqa: E402

app = FastAPI(lifespan=lifespan)


@app.post("/v1/reservations")
async def reserve(
    request: Request,
    response: Response,
    body: Reservation,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=128)],
) -> dict[str, Any]:
    response.status_code, answer = await decided(request.app, body, idempotency_key)
    return answer
