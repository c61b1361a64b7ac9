"""The floor: what HTTP itself costs here, with nothing behind it.

It takes the same POST as a reservation, body included, and answers 201 with as many bytes as a
reservation has, but parses nothing, decides nothing and stores nothing. Whatever a real endpoint
adds is on top. Two more paths are measured so that a reader can judge the choice: ``/unread`` does
not even take the body, less than any real endpoint can do; ``/short`` is answered without ASGI, as
the lean routes of the service are by its uvicorn protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flashstock.api.lean import LeanAnswer, Respond
from flashstock.api.turnstile import Turnstile

# As long as a real answer, so that the socket carries the same load both ways.
BODY: Final = (
    b'{"id":"bench~0123456789abcdef","pool":"bench","buyer":"buyer-0123456789","quantity":1,'
    b'"state":"held","expires_at":"2026-11-22T03:00:00.123Z","receipt":"' + b"x" * 120 + b'"}'
)

_START: Final = {
    "type": "http.response.start",
    "status": 201,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
    ],
}
_END: Final = {"type": "http.response.body", "body": BODY}


_SHORT: Final = LeanAnswer(201, ((b"content-type", b"application/json"),), BODY)


def _answer_short(headers: Mapping[bytes, bytes], body: bytes, respond: Respond) -> None:  # noqa: ARG001 (a lean handler's signature)
    respond(_SHORT)


def _refuse(path: str, respond: Respond) -> None:  # noqa: ARG001 (the turnstile's signature)
    raise AssertionError(f"{path}: no load is this large")


class NoOp:
    """Take the request, answer at once."""

    turnstile: Final = Turnstile({"/short": _answer_short}, _refuse, waiting_max=100_000)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["path"] != "/unread":
            while (await receive()).get("more_body"):
                pass
        await send(_START)
        await send(_END)


app: Final = NoOp()


async def _lifespan(receive: Any, send: Any) -> None:
    """Nothing to open, nothing to close: say so."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
