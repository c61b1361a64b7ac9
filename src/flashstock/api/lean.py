"""A lean request: headers and body in, one answer out, and no framework in between.

A lean handler is a plain function. It answers at once or later, from wherever the answer comes
up, and so needs no task of its own: ``as_asgi`` runs it under any ASGI server, and the uvicorn
protocol in ``supervisor/short_cut.py`` runs it without ASGI.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import orjson

from flashstock.api.asgi import (
    ASGIHandler,
    ClientGone,
    Receive,
    Scope,
    Send,
    check_content_length,
    header_of,
    read_body,
)
from flashstock.api.problems import problem_document, problem_headers
from flashstock.errors import FlashstockError, Unavailable

DECIDING_HEADERS = (b"authorization", b"content-length", b"content-type", b"idempotency-key")
"""What decides how a request is taken. Twice, and it is refused."""
LENGTH_DIGITS_UNCHECKED = 5
"""A length of fewer digits is below every limit."""


class LeanAnswer(NamedTuple):
    """A whole answer. ``headers`` leaves out the content length; ``code`` is that of a problem."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    code: str = ""


Respond = Callable[[LeanAnswer], None]
"""Takes the answer; to be called exactly once. A client that has gone is its business."""
LeanHandler = Callable[[Mapping[bytes, bytes], bytes, Respond], None]
"""Takes headers (lower-case names, none of the deciding ones twice), a body that is not above its
path's limit, and where the answer goes. Never raises."""


HEADERS: Final = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
REPLAY_HEADERS: Final = (*HEADERS, (b"idempotency-replayed", b"true"))

logger = logging.getLogger("flashstock.api.hot")


def known(failure: Exception) -> FlashstockError:
    """The failure as one that can be told; what nobody expected is logged."""
    if isinstance(failure, FlashstockError):
        return failure
    logger.error("a lean route failed", exc_info=failure)
    return FlashstockError()


def failed(failure: Exception) -> LeanAnswer:
    """The answer that tells of a failure."""
    return problem_answer(known(failure))


def problem_answer(error: FlashstockError) -> LeanAnswer:
    """The answer that says what was wrong."""
    document = problem_document(error)
    headers = tuple(problem_headers(error))
    return LeanAnswer(document["status"], headers, orjson.dumps(document), error.code)


CUT_OFF: Final = problem_answer(Unavailable("the server has given up on the request"))
"""To a request that a server which goes down has no more time for. The servers' own answer is a
500, though the same key finds out what became of it."""


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """The request's headers. Raises ``InvalidRequest`` where one that decides is there twice."""
    headers = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        for name in DECIDING_HEADERS:
            header_of(scope, name)
    if len(headers.get(b"content-length", b"")) >= LENGTH_DIGITS_UNCHECKED:
        check_content_length(scope)
    return headers


async def send_answer(send: Send, answer: LeanAnswer) -> None:
    """Send it over ASGI."""
    length = (b"content-length", b"%d" % len(answer.body))
    headers = [*answer.headers, length]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def as_asgi(handler: LeanHandler, refused: Callable[[LeanAnswer], None]) -> ASGIHandler:
    """The handler as an ASGI application.

    Args:
        handler: what decides.
        refused: told of answers to requests that did not get as far as the handler.
    """

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = headers_of(scope)
            body = await read_body(scope, receive)
        except FlashstockError as error:
            answer = problem_answer(error)
            refused(answer)
            await send_answer(send, answer)
            return
        except ClientGone:
            return
        coming: asyncio.Future[LeanAnswer] = asyncio.get_running_loop().create_future()

        def respond(answer: LeanAnswer) -> None:
            if not coming.done():
                coming.set_result(answer)

        handler(headers, body, respond)
        try:
            answer = await coming
        except asyncio.CancelledError:
            answer = CUT_OFF
        await send_answer(send, answer)

    return handle
