"""The application: the lean routes first, FastAPI for everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from flashstock import __version__
from flashstock.api.asgi import Receive, Scope, Send
from flashstock.api.envelope import Envelope
from flashstock.api.handlers import add_exception_handlers
from flashstock.api.hot import HotRoutes
from flashstock.api.openapi import TITLE, build_document
from flashstock.api.pages import BesidePages, Pages
from flashstock.api.routes import (
    campaign_stock,
    campaigns,
    catalogue,
    channels,
    groups,
    health,
    imports,
    keys,
    lean,
    operations,
    orders,
    payments,
    pools,
    purchases,
    reservations,
    statistics,
    stock,
    stock_counts,
    warnings,
    webhooks,
)
from flashstock.api.services import Services

ROUTERS: Final = (
    reservations.reservations,
    reservations.carts,
    groups.groups,
    pools.looking,
    pools.changing,
    operations.operations,
    keys.keys,
    health.health,
)
STOCK_ROUTERS: Final[tuple[APIRouter, ...]] = (
    catalogue.catalogue,
    stock.stock,
    stock.showing,
    stock.proving,
    purchases.purchases,
    purchases.transfers,
    stock_counts.stocktakes,
    stock_counts.lots,
    webhooks.watching,
    webhooks.changing,
    warnings.warnings,
    statistics.statistics,
    imports.taking,
    imports.giving,
    payments.statements,
    payments.cases,
    channels.channels,
    channels.publishing,
    channels.policies,
    campaigns.showing,
    campaigns.campaigns,
    campaign_stock.bundles,
    campaign_stock.balances,
    campaign_stock.flights,
    orders.orders,
    orders.looking,
)
"""What stands on the stock book: mounted where this process has it."""
LEAN_ROUTES: Final = (*lean.lean.routes, *groups.lean.routes)
"""Only described: ``HotRoutes`` serves them."""


class DescribedAPI(FastAPI):
    """FastAPI, but its document has the lean routes too, and it knows what each path takes."""

    def openapi(self) -> dict[str, Any]:
        """The document of everything that is served; built once."""
        if self.openapi_schema is None:
            self.openapi_schema = build_document([*self.routes, *LEAN_ROUTES])
        return self.openapi_schema

    def allowed_methods(self, path: str) -> list[str]:
        """What a path takes, lean routes included; empty where there is nothing."""
        mounted = [route for router in (*ROUTERS, *STOCK_ROUTERS) for route in router.routes]
        routes = [*mounted, *LEAN_ROUTES]
        found = [
            route
            for route in routes
            if isinstance(route, APIRoute) and route.path_regex.match(path)
        ]
        exact = [route for route in found if route.path == path and route.include_in_schema]
        methods = {method for route in exact or found for method in route.methods or ()}
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def build_api(services: Services, pages: Sequence[Pages] = ()) -> DescribedAPI:
    """The FastAPI part. Its lifespan starts and stops the services, and the pages beside them."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 (FastAPI's signature)
        try:
            await services.start()
            services.proof_watch.follow(services.reconciliation.last_round)
            yield
        finally:
            for one in pages:
                await one.stop()
            await services.proof_watch.stop()
            await services.stock_watch.stop()
            await services.stop()

    api = DescribedAPI(
        title=TITLE, version=__version__, lifespan=lifespan, redoc_url=None, redirect_slashes=False
    )
    api.state.services = services
    for router in ROUTERS:
        api.include_router(router)
    if services.stock is not None:
        for router in STOCK_ROUTERS:
            api.include_router(router)
    if services.audit is not None:
        api.include_router(operations.auditing)
    if services.rebuild is not None:
        api.include_router(operations.rebuilding)
    add_exception_handlers(api)
    return api


class Application:
    """The ASGI application of one API process.

    A server may hand the lean requests to ``turnstile`` instead of calling the application; the
    answers are the same.

    Args:
        pages: what is served to people, each below a path of its own.
    """

    def __init__(self, services: Services, pages: Sequence[Pages] = ()) -> None:
        hot = HotRoutes(services)
        self.turnstile = hot.turnstile
        self._hot_handler = hot.handler
        self._pages = pages
        served = BesidePages(build_api(services, pages), pages)
        self._everything_else = Envelope(served, services.counters)

    def drain(self) -> None:
        """End every answer that would go on for ever; a server calls this before it waits for
        those under way.
        """
        for one in self._pages:
            one.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the lifespan."""
        handler = self._hot_handler(scope)
        await (handler or self._everything_else)(scope, receive, send)
