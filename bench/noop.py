"""The floor: what HTTP itself costs here, with nothing behind it.

It takes the same POST as a reservation, body included, and answers 201 with as many bytes as a
reservation has, but parses nothing, decides nothing and stores nothing. Whatever a real endpoint
adds is on top. Under ``/unread`` it does not even take the body: less than any real endpoint can
do, measured so that a reader can judge the choice.
"""

from __future__ import annotations

from typing import Any, Final

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


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Take the request, answer at once."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["path"] != "/unread":
        while (await receive()).get("more_body"):
            pass
    await send(_START)
    await send(_END)


async def _lifespan(receive: Any, send: Any) -> None:
    """Nothing to open, nothing to close: say so."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
