"""How a page of the console is asked for, and what is made sure of before its handler runs.

Reading takes a session; changing takes a form of that session, sent from one of our own pages, by
somebody whose key may do it. Whatever was changed is put on record before it is answered.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from flashstock.api.asgi import header_of, read_body
from flashstock.api.auth import Principal, Role
from flashstock.api.schemas import invalid_request
from flashstock.api.services import Services
from flashstock.api.stock_services import StockServices
from flashstock.console.sessions import PATH, Session, came_from_here
from flashstock.errors import (
    FlashstockError,
    Forbidden,
    InvalidRequest,
    Unauthorized,
    UnknownPath,
    UnsupportedMediaType,
)

if TYPE_CHECKING:
    from flashstock.console.application import Console

Request_ = TypeVar("Request_", bound=BaseModel)

FORM_TYPE: Final = b"application/x-www-form-urlencoded"
FIELDS_MAX: Final = 2_000
NUMBER_DIGITS_MAX: Final = 15
PROBLEMS_TOLD_MAX: Final = 5
TOKEN_FIELD: Final = "form_token"
KEY_FIELD: Final = "idempotency_key"
_UNRECORDED: Final = frozenset({TOKEN_FIELD, KEY_FIELD})


class Done(NamedTuple):
    """What an action leads to: a page, and a line on it that says what was done."""

    location: str
    message: str


@dataclass(frozen=True)
class Asked:
    """One request, by somebody who is signed in."""

    console: Console
    request: Request
    session: Session
    principal: Principal
    form: Mapping[str, str]

    @property
    def services(self) -> Services:
        return self.console.services

    @property
    def stock(self) -> StockServices:
        """The stock book. Raises ``UnknownPath`` where this process has none."""
        if self.services.stock is None:
            raise UnknownPath("this service keeps no stock book")
        return self.services.stock

    def named(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def number_in_path(self, name: str) -> int:
        """A part of the path that is a number. Raises ``UnknownPath`` where it is none."""
        text = self.named(name)
        if not (text.isascii() and text.isdigit()) or len(text) > NUMBER_DIGITS_MAX:
            raise UnknownPath("there is no such page")
        return int(text)

    def wanted(self, name: str, default: str = "") -> str:
        """A parameter of the query."""
        return str(self.request.query_params.get(name, default)).strip()

    def wanted_number(self, name: str) -> int:
        """A parameter that is a number; 0 where it is missing. Raises ``InvalidRequest``."""
        text = self.wanted(name) or "0"
        if not (text.isascii() and text.isdigit()) or len(text) > NUMBER_DIGITS_MAX:
            raise InvalidRequest(f"{name}: must be a number")
        return int(text)

    def field(self, name: str) -> str:
        """A field of the form. Raises ``InvalidRequest`` where it is missing."""
        if name not in self.form:
            raise InvalidRequest(f"{name}: is missing", errors=[_missing(name)])
        return self.form[name].strip()

    def text_or_none(self, name: str) -> str | None:
        """A field that may be left empty."""
        return self.form.get(name, "").strip() or None

    def number_or_none(self, name: str) -> int | None:
        """A number that may be left empty."""
        return None if self.text_or_none(name) is None else self.whole_number(name)

    def time_or_none(self, name: str) -> str | None:
        """A moment that may be left empty: what a browser's field says, taken as UTC."""
        text = self.text_or_none(name)
        return None if text is None else as_utc(text)

    def whole_number(self, name: str) -> int:
        """A field that is a number. Raises ``InvalidRequest``."""
        text = self.field(name).replace(",", "").replace("+", "")
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or len(text) > NUMBER_DIGITS_MAX:
            problem = "must be a whole number"
            raise InvalidRequest(f"{name}: {problem}", errors=[{"field": name, "problem": problem}])
        return int(text)

    def validated(self, model: type[Request_], fields: Mapping[str, Any]) -> Request_:
        """The fields as the API's own request takes them. Raises ``InvalidRequest``."""
        try:
            return model.model_validate({k: v for k, v in fields.items() if v is not None})
        except ValidationError as problem:
            found = [{**one, "loc": ("body", *one["loc"])} for one in problem.errors()]
            raise invalid_request(found) from problem

    def idempotency_key(self) -> str:
        """The key of this form: sending it twice does it once."""
        key = self.field(KEY_FIELD)
        if not 1 <= len(key) <= 64 or not key.isalnum():
            raise InvalidRequest(f"{KEY_FIELD}: is not one of ours")
        return f"console-{key}"

    def render(self, template: str, **values: Any) -> Response:
        """A page. Whatever was to be said about the last action is said on it, once."""
        return self.console.page(self.request, self.session, template, **values)


Handler = Callable[[Asked], Awaitable[Response]]
ActionHandler = Callable[[Asked], Awaitable[Done]]


def page(path: str, handle: Handler) -> Route:
    """A page at ``/console<path>`` for everybody who may sign in."""

    async def endpoint(request: Request) -> Response:
        console = console_of(request)
        session = console.sessions.of(request)
        if session.principal is None:
            return to_sign_in(request)
        asked = Asked(console, request, session, _of_role(session.principal, Role.OPS), {})
        response = await handle(asked)
        console.sessions.renew(session, request, response)
        return response

    return Route(f"{PATH}{path}", endpoint, methods=["GET"])


def action(path: str, handle: ActionHandler, role: Role = Role.OPS) -> Route:
    """A form's target at ``/console<path>``. A refusal is told on the page that it came from."""

    async def endpoint(request: Request) -> Response:
        console = console_of(request)
        session = console.sessions.of(request)
        form = await checked_form(request, session)
        if session.principal is None:
            return to_sign_in(request)
        asked = Asked(console, request, session, _of_role(session.principal, role), form)
        error: FlashstockError | None = None
        try:
            done = await handle(asked)
        except FlashstockError as refusal:
            error = refusal
            done = Done(back_of(request), f"Not done: {in_words(refusal)}")
        await console.put_on_record(asked, f"{PATH}{path}", _told(form), error)
        response = RedirectResponse(done.location, 303)
        console.leave_note(session, request, response, done.message, is_problem=error is not None)
        return response

    return Route(f"{PATH}{path}", endpoint, methods=["POST"])


async def checked_form(request: Request, session: Session) -> dict[str, str]:
    """The fields of a form that one of our own pages sent; the last one of each name.

    Raises:
        Forbidden: it came from elsewhere, or is of another session.
        UnsupportedMediaType, BodyTooLarge, InvalidRequest: it is no form.
    """
    if not came_from_here(request):
        raise Forbidden("this form was not sent by a page of this console")
    kind = header_of(request.scope, b"content-type") or b""
    if kind.partition(b";")[0].strip().lower() != FORM_TYPE:
        raise UnsupportedMediaType("the console takes forms")
    body = await read_body(request.scope, request.receive)
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
        )
    except ValueError as problem:
        raise InvalidRequest(f"the form can't be read: {problem}") from problem
    form = dict(pairs)
    if not console_of(request).sessions.is_form_token(session, form.get(TOKEN_FIELD, "")):
        raise Forbidden("the form is of another session: load the page again")
    return form


def console_of(request: Request) -> Console:
    """The console that answers this request."""
    console: Console = request.app.state.console
    return console


def to_sign_in(request: Request) -> Response:
    """Where somebody goes who is nobody yet, and comes back from."""
    path = request.url.path
    if request.method == "GET" and path != PATH:
        wanted = path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{PATH}/sign-in?{urlencode({'next': wanted})}", 303)
    return RedirectResponse(f"{PATH}/sign-in", 303)


def back_of(request: Request) -> str:
    """The page of the console that a form was on; it came from here, as was made sure of."""
    came_from = urlsplit(request.headers.get("referer", ""))
    if not is_own_path(came_from.path):
        return PATH
    return came_from.path + (f"?{came_from.query}" if came_from.query else "")


def is_own_path(path: str) -> bool:
    """Whether a path leads to a page of the console, and nowhere else."""
    is_below = path == PATH or path.startswith((f"{PATH}/", f"{PATH}?"))
    return is_below and "\\" not in path and not any(ord(c) < 33 for c in path)


def path_to(*parts: str) -> str:
    """``/console/pools/a%2Fb``: each part is one part, whatever is in it."""
    return "/".join([PATH, *(quote(part, safe="~:@!$&'()*+,;=") for part in parts)])


def in_words(error: FlashstockError) -> str:
    """What went wrong, for a person; of our own trouble no more than its title."""
    shown = error.title if error.status >= 500 else error.detail
    problems = [
        f"{one['field']}: {one['problem']}"
        for one in error.extra.get("errors", ())
        if isinstance(one, dict) and {"field", "problem"} <= one.keys()
    ]
    return "; ".join(problems[:PROBLEMS_TOLD_MAX]) if len(problems) > 1 else shown


def as_utc(text: str) -> str:
    """``2026-11-22T03:00`` as RFC 3339; what names a zone already stays as it is."""
    has_zone = text.endswith(("Z", "z")) or "+" in text or text.count("-") > 2
    return text if has_zone else f"{text}{':00' if text.count(':') == 1 else ''}Z"


def new_key() -> str:
    """An idempotency key for a form."""
    return secrets.token_hex(12)


def error_page(console: Console, request: Request, error: FlashstockError) -> Response:
    """What is shown instead of a page."""
    if isinstance(error, Unauthorized):
        return to_sign_in(request)
    try:
        session = console.sessions.of(request)
    except FlashstockError:
        html = console.templates.get_template("problem.html").render(error=error)
        return HTMLResponse(html, error.status)
    return console.page(
        request,
        session,
        "error.html",
        http_status=error.status,
        title=error.title,
        message=in_words(error),
        code=error.code,
    )


def _of_role(principal: Principal, role: Role) -> Principal:
    if role not in principal.may:
        raise Forbidden(f"this takes the role {role}; key {principal.name!r} is {principal.role}")
    return principal


def _told(form: Mapping[str, str]) -> dict[str, str]:
    return {name: value[:200] for name, value in form.items() if name not in _UNRECORDED}


def _missing(name: str) -> dict[str, str]:
    return {"field": name, "problem": "is missing"}
