"""For machines that watch: no key, no store where none is needed."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from flashstock import __version__
from flashstock.api.documents import HealthDocument, ReadyDocument, VersionDocument
from flashstock.api.metrics import CONTENT_TYPE, render_metrics
from flashstock.api.openapi import problems
from flashstock.api.routing import ServicesOf, answer
from flashstock.errors import Recovering, Unavailable

READY_TIMEOUT_SECONDS: Final = 1.0

health = APIRouter(tags=["health"])


@health.get("/healthz", summary="Is the process alive", responses={200: {"model": HealthDocument}})
async def healthz() -> Response:
    """200 as long as the process answers, whatever the stores do."""
    return answer({"status": "ok"})


@health.get(
    "/readyz",
    summary="Does it take requests",
    responses={
        200: {"model": ReadyDocument},
        503: problems(Recovering, Unavailable)[503],
    },
)
async def readyz(services: ServicesOf) -> Response:
    """200 when every shard is open in this process and SQL answers within a second."""
    for shard in range(services.store.shard_count):
        if services.store.generation(shard) is None:
            raise Recovering(f"shard {shard} is not open", shard=shard)
    try:
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            await services.queries.cursors()
    except TimeoutError:
        raise Unavailable("SQL did not answer in time") from None
    return answer({"status": "ready"})


@health.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(services: ServicesOf) -> Response:
    """What this process counted, and what the stores say.

    With several workers each scrape is answered by one of them: series that a worker counted
    carry its process id as `worker`, so none is mistaken for another.
    """
    return Response(await render_metrics(services), media_type=CONTENT_TYPE)


@health.get("/version", summary="Which version runs", responses={200: {"model": VersionDocument}})
async def version() -> Response:
    return answer({"name": "flashstock", "version": __version__})
