"""The application: the lean routes first, FastAPI for everything else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI

from flashstock import __version__
from flashstock.api.asgi import ASGIHandler, Receive, Scope, Send
from flashstock.api.envelope import Envelope
from flashstock.api.handlers import add_exception_handlers
from flashstock.api.hot import HotRoutes
from flashstock.api.openapi import TITLE, build_document
from flashstock.api.routes import health, keys, lean, operations, pools, reservations
from flashstock.api.services import Services

ASGIApplication = ASGIHandler

ROUTERS: Final = (
    reservations.reservations,
    reservations.carts,
    pools.looking,
    pools.changing,
    operations.operations,
    keys.keys,
    health.health,
)
_PARAMETER: Final = re.compile(r"\{[^}]+\}")


class DescribedAPI(FastAPI):
    """FastAPI, but its document has the lean routes too, and it knows what each path takes."""

    def openapi(self) -> dict[str, Any]:
        """The document of everything that is served; built once."""
        if self.openapi_schema is None:
            self.openapi_schema = build_document([*self.routes, *lean.lean.routes])
        return self.openapi_schema

    def allowed_methods(self, path: str) -> list[str]:
        """What the document says a path takes; empty for a path that is not in it."""
        allowed: set[str] = set()
        for template, operations_of in self.openapi()["paths"].items():
            pattern = "[^/]+".join(re.escape(part) for part in _PARAMETER.split(template))
            if re.fullmatch(pattern, path):
                if template == path:
                    return _names(operations_of)
                allowed.update(operations_of)
        return _names(allowed)


def _names(methods: Any) -> list[str]:
    names = {method.upper() for method in methods}
    return sorted(names | {"HEAD"} if "GET" in names else names)


def build_api(services: Services) -> DescribedAPI:
    """The FastAPI part. Its lifespan starts and stops the services."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 (FastAPI's signature)
        try:
            await services.start()
            yield
        finally:
            await services.proof_watch.stop()
            await services.stop()

    api = DescribedAPI(
        title=TITLE, version=__version__, lifespan=lifespan, redoc_url=None, redirect_slashes=False
    )
    api.state.services = services
    for router in ROUTERS:
        api.include_router(router)
    if services.rebuild is not None:
        api.include_router(operations.rebuilding)
    add_exception_handlers(api)
    return api


def build_app(services: Services) -> ASGIApplication:
    """The ASGI application of one API process."""
    hot_handler = HotRoutes(services).handler
    everything_else = Envelope(build_api(services), services.counters)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        handler = hot_handler(scope) if scope["type"] == "http" else None
        await (handler or everything_else)(scope, receive, send)

    return application
