"""For machines that watch: no key, no store where none is needed."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from flashstock import __version__
from flashstock.api.documents import HealthDocument, ReadyDocument, VersionDocument
from flashstock.api.handlers import problem_response
from flashstock.api.metrics import CONTENT_TYPE, render_metrics
from flashstock.api.openapi import problems
from flashstock.api.routing import ServicesOf, answer
from flashstock.errors import Recovering, Unavailable

READY_TIMEOUT_SECONDS: Final = 1.0

_log = logging.getLogger("flashstock.api")

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
async def readyz(request: Request, services: ServicesOf) -> Response:
    """200 when every shard is open in this process and SQL answers within a second."""
    # Answered, not raised: whoever waits for a start asks many times, and that is no news.
    for shard in range(services.store.shard_count):
        if services.store.generation(shard) is None:
            return problem_response(request.scope, Recovering())
    try:
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            await services.queries.cursors()
    except (TimeoutError, Unavailable) as problem:
        _log.info("not ready: SQL: %s", problem)
        return problem_response(request.scope, Unavailable())
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
