"""Pages for people, beside the API: each set of them is an ASGI application below one path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flashstock.api.asgi import ASGIHandler, Receive, Scope, Send


class Pages(Protocol):
    """An ASGI application for everything at and below ``prefix``."""

    @property
    def prefix(self) -> str:
        """A path such as ``/console``, without a slash at its end."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        ...

    def drain(self) -> None:
        """End the answers that would go on for ever: the process is about to stop."""
        ...

    async def stop(self) -> None:
        """Cancel what runs in the background, before the stores are closed."""
        ...


class BesidePages:
    """Hands a request to the pages whose path it is below, everything else to the API."""

    def __init__(self, api: ASGIHandler, pages: Sequence[Pages]) -> None:
        self._api = api
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the lifespan."""
        if scope["type"] == "http":
            path: str = scope["path"]
            for one in self._pages:
                if path == one.prefix or path.startswith(f"{one.prefix}/"):
                    await one(scope, receive, send)
                    return
        await self._api(scope, receive, send)
