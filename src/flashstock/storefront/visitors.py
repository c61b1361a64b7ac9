"""Who is looking: a cookie makes a browser a buyer. Nobody signs in to a demonstration."""

from __future__ import annotations

import re
import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

PREFIX: Final = "/demo"
COOKIE: Final = "flashstock_buyer"
COOKIE_SECONDS: Final = 30 * 86_400
_BUYER: Final = re.compile(r"visitor-[0-9a-f]{20}")


def buyer_of(request: Request) -> str | None:
    """The buyer this browser is, if it is one already."""
    buyer = request.cookies.get(COOKIE, "")
    return buyer if _BUYER.fullmatch(buyer) else None


def new_buyer() -> str:
    """A buyer that nobody can guess: the name is all it takes to be him."""
    return f"visitor-{secrets.token_hex(10)}"


def remember(request: Request, response: Response, buyer: str) -> None:
    """Make the browser that buyer.

    ``lax``, not ``strict``: whoever follows a link that a friend sent stays who he is.
    """
    response.set_cookie(
        COOKIE,
        buyer,
        max_age=COOKIE_SECONDS,
        path=PREFIX,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def forget(response: Response) -> None:
    """Let the browser be somebody else the next time."""
    response.delete_cookie(COOKIE, path=PREFIX, httponly=True, samesite="lax")


def came_from_here(request: Request) -> bool:
    """Whether a page of this shop sent it; browsers say so, other programs need not."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host")
