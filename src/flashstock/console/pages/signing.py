"""Signing in with an ops key, and out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from flashstock.console.routing import checked_form, console_of, in_words, is_own_path
from flashstock.console.sessions import COOKIE, PATH
from flashstock.errors import FlashstockError, Forbidden, Unavailable


async def show(request: Request) -> Response:
    """The form; whoever is signed in goes on."""
    console = console_of(request)
    session = console.sessions.of(request)
    if session.principal is not None:
        return RedirectResponse(_next(request.query_params.get("next", "")), 303)
    return _form(request, request.query_params.get("next", ""))


async def sign_in(request: Request) -> Response:
    """Take a key. The session is a new one: nobody can have known it before."""
    console = console_of(request)
    form = await checked_form(request, console.sessions.of(request))
    wanted = form.get("next", "")
    try:
        session = console.sessions.sign_in(form.get("key", ""))
    except FlashstockError as refusal:
        return _form(request, wanted, refusal)
    response = RedirectResponse(_next(wanted), 303)
    console.sessions.write(session, request, response)
    return response


async def sign_out(request: Request) -> Response:
    """Forget the session, in this browser."""
    console = console_of(request)
    await checked_form(request, console.sessions.of(request))
    response = RedirectResponse(f"{PATH}/sign-in", 303)
    response.delete_cookie(COOKIE, path=PATH)
    return response


def _form(request: Request, wanted: str, refusal: FlashstockError | None = None) -> Response:
    console = console_of(request)
    session = console.sessions.of(request)
    status, problem = 200, ""
    if refusal is not None:
        status = refusal.status
        problem = in_words(refusal)
        if isinstance(refusal, Forbidden):
            problem = "The console takes a key of the role ops or admin."
        elif isinstance(refusal, Unavailable):
            problem = "The keys have not been read yet: try again in a moment."
    response = console.page(
        request, session, "sign_in.html", http_status=status, problem=problem, next=_next(wanted)
    )
    console.sessions.write(session, request, response)
    return response


def _next(path: str) -> str:
    return path if is_own_path(path) else PATH


ROUTES = (
    Route(f"{PATH}/sign-in", show, methods=["GET"]),
    Route(f"{PATH}/sign-in", sign_in, methods=["POST"]),
    Route(f"{PATH}/sign-out", sign_out, methods=["POST"]),
)
