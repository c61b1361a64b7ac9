"""The shop as an ASGI application below ``/demo``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from flashstock import __version__
from flashstock.browsers import PAGE_HEADERS
from flashstock.client import Pool
from flashstock.errors import (
    FlashstockError,
    InvalidRequest,
    Unavailable,
    UnknownPath,
    WrongMethod,
)
from flashstock.storefront import asked
from flashstock.storefront.opening import delay_ms
from flashstock.storefront.shop import Shop
from flashstock.storefront.shown import (
    group_body,
    groups_body,
    hold_body,
    phase_of,
    sale_body,
)
from flashstock.storefront.visitors import PREFIX, buyer_of, forget, new_buyer, remember

HERE: Final = Path(__file__).parent
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Storefront:
    """The pages of the shop, and what their scripts ask for.

    Args:
        api_key: the shop's own, of role storefront; none where the service runs open.
        spread_ms: over how long the requests of the first moments are spread.
    """

    prefix = PREFIX

    def __init__(self, *, api_key: str | None, spread_ms: int) -> None:
        self._api_key = api_key
        self._spread_ms = spread_ms
        self._shop: Shop | None = None
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        numbers = (*asked.NUMBERS.items(), *asked.GROUP_NUMBERS.items())
        self._templates.globals.update(version=__version__, numbers=numbers)
        self._app = Starlette(
            routes=self._routes(),
            exception_handlers={
                FlashstockError: self._problem,
                HTTPException: self._problem,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with the headers that keep a page to itself."""

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(PAGE_HEADERS)
                # A newer version's script must not meet an older one's page.
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def drain(self) -> None:
        """Nothing here goes on for ever."""

    async def stop(self) -> None:
        """Close the shop's connections."""
        if self._shop is not None:
            await self._shop.client.__aexit__(None, None, None)
            self._shop = None

    def _routes(self) -> list[Route | Mount]:
        pages = {
            "": self._window,
            "/campaigns/{code}": self._campaign,
            "/sales/{pool}": self._sale,
            "/sales/{pool}/state": self._sale_state,
            "/sales/{pool}/groups": self._groups,
            "/groups/{group}": self._group,
            "/groups/{group}/state": self._group_state,
            "/reservations/{reservation}": self._hold,
        }
        acts = {
            "/sales": self._open_sale,
            "/sales/{pool}/buy": self._buy,
            "/sales/{pool}/open-group": self._open_group,
            "/groups/{group}/join": self._join_group,
            "/reservations/{reservation}/pay": self._pay,
            "/reservations/{reservation}/let-go": self._let_go,
            "/another-buyer": self._another_buyer,
        }
        return [
            *(Route(PREFIX + path, handle, methods=["GET"]) for path, handle in pages.items()),
            *(Route(PREFIX + path, handle, methods=["POST"]) for path, handle in acts.items()),
            Mount(f"{PREFIX}/static", StaticFiles(directory=HERE / "static")),
        ]

    async def _window(self, request: Request) -> Response:
        shop = await self._open_shop(request)
        wanted = request.query_params.get("pool", "").strip()
        if wanted:
            return RedirectResponse(f"{PREFIX}/sales/{quote(wanted, safe='~')}", 303)
        return self._page(request, "window.html", window=await shop.window(), phase_of=_phase_now)

    async def _open_sale(self, request: Request) -> Response:
        wanted = asked.sale_of(await asked.form_of(request))
        shop = await self._open_shop(request)
        pool = await shop.open_sale(wanted)
        return RedirectResponse(f"{PREFIX}/sales/{pool.id}", 303)

    async def _campaign(self, request: Request) -> Response:
        shop = await self._open_shop(request)
        campaign = await shop.campaign(request.path_params["code"])
        return self._page(request, "campaign.html", campaign=campaign)

    async def _sale(self, request: Request) -> Response:
        shop = await self._open_shop(request)
        pool = await shop.pool(request.path_params["pool"])
        item = None
        code = request.query_params.get("campaign", "")
        if code:
            campaign = await shop.campaign(code)
            item = next((one for one in campaign.items if one.pool == pool.id), None)
        template = "group_sale.html" if pool.group_buy is not None else "sale.html"
        return self._page(request, template, pool=pool, item=item)

    async def _sale_state(self, request: Request) -> Response:
        shop = await self._open_shop(request)
        pool = await shop.pool(request.path_params["pool"])
        yours_ms = delay_ms(self._buyer(request), pool.id, self._spread_ms)
        now = datetime.now(UTC)
        return _json(sale_body(pool, now, spread_ms=self._spread_ms, yours_ms=yours_ms))

    async def _buy(self, request: Request) -> Response:
        purchase = await asked.purchase_of(request)
        shop = await self._open_shop(request)
        pool = request.path_params["pool"]
        held = await shop.buy(pool, self._buyer(request), purchase.quantity, purchase.key)
        return _json(hold_body(held, datetime.now(UTC)), 201)

    async def _groups(self, request: Request) -> Response:
        shop = await self._open_shop(request)
        pool = await shop.pool(request.path_params["pool"])
        return _json(groups_body(pool, await shop.groups(pool.id), datetime.now(UTC)))

    async def _group(self, request: Request) -> Response:
        shop = await self._open_shop(request)
        group = await shop.group(request.path_params["group"])
        return self._page(request, "group.html", group=group, pool=await shop.pool(group.pool))

    async def _group_state(self, request: Request) -> Response:
        shop = await self._open_shop(request)
        group = await shop.group(request.path_params["group"])
        pool = await shop.pool(group.pool)
        return _json(group_body(group, pool, self._buyer(request), datetime.now(UTC)))

    async def _open_group(self, request: Request) -> Response:
        seat = await asked.seat_of(request)
        shop = await self._open_shop(request)
        pool = request.path_params["pool"]
        taken = await shop.open_group(pool, self._buyer(request), seat.key, match=seat.match)
        return _json(hold_body(taken, datetime.now(UTC)), 201)

    async def _join_group(self, request: Request) -> Response:
        seat = await asked.seat_of(request)
        shop = await self._open_shop(request)
        taken = await shop.join_group(request.path_params["group"], self._buyer(request), seat.key)
        return _json(hold_body(taken, datetime.now(UTC)), 201)

    async def _hold(self, request: Request) -> Response:
        shop = await self._open_shop(request)
        held = await shop.hold(request.path_params["reservation"], self._buyer(request))
        return _json(hold_body(held, datetime.now(UTC)))

    async def _pay(self, request: Request) -> Response:
        payment = await asked.payment_of(request)
        shop = await self._open_shop(request)
        reservation = request.path_params["reservation"]
        paid = await shop.pay(reservation, self._buyer(request), payment.receipt)
        return _json(hold_body(paid, datetime.now(UTC)))

    async def _let_go(self, request: Request) -> Response:
        await asked.nothing_of(request)
        shop = await self._open_shop(request)
        given_back = await shop.let_go(request.path_params["reservation"], self._buyer(request))
        return _json(hold_body(given_back, datetime.now(UTC)))

    async def _another_buyer(self, request: Request) -> Response:
        await asked.form_of(request)
        response = RedirectResponse(PREFIX, 303)
        forget(response)
        return response

    async def _open_shop(self, request: Request) -> Shop:
        """The shop, which goes to the service by the address that the visitor came in by."""
        if self._shop is None:
            shop = Shop(_own_url(request.scope), self._api_key)
            await shop.client.__aenter__()
            self._shop = shop
        return self._shop

    def _buyer(self, request: Request) -> str:
        """Who asks. A script without a cookie is nobody, and has nothing."""
        buyer = buyer_of(request)
        if buyer is None:
            raise InvalidRequest("no cookie came with this: load the page again")
        return buyer

    def _page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        buyer = buyer_of(request) or new_buyer()
        html = self._templates.get_template(template).render(buyer=buyer, **values)
        response = HTMLResponse(html, status, {"Cache-Control": "no-store"})
        remember(request, response, buyer)
        return response

    async def _problem(self, request: Request, problem: Exception) -> Response:
        error = _as_error(problem)
        status, body, headers = asked.problem_body(error)
        if "text/html" not in request.headers.get("accept", ""):
            return _json(body, status, headers)
        response = self._page(request, "problem.html", status, problem=body, http_status=status)
        response.headers.update(headers)
        return response


def _json(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    kept_by_nobody = {"Cache-Control": "no-store", **(headers or {})}
    return Response(orjson.dumps(body), status, kept_by_nobody, media_type="application/json")


def _phase_now(pool: Pool) -> str:
    return phase_of(pool, datetime.now(UTC)).value


def _as_error(problem: Exception) -> FlashstockError:
    """Ours as it is; of Starlette's there are two: no such page, and not this way."""
    if isinstance(problem, FlashstockError):
        return problem
    if isinstance(problem, HTTPException) and problem.status_code == 405:
        return WrongMethod()
    return UnknownPath()


def _own_url(scope: Scope) -> str:
    """Where this service listens, as a connection to it told.

    Raises:
        Unavailable: on a Unix socket, where no shop could reach it.
    """
    server = scope.get("server")
    if server is None or server[1] is None:
        raise Unavailable("the shop can't reach a service that listens on a Unix socket")
    host = _WILDCARDS.get(server[0], server[0])
    return f"http://[{host}]:{server[1]}" if ":" in host else f"http://{host}:{server[1]}"
