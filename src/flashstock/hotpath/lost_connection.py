"""Telling the loss of a connection from a mistake, on every event loop.

uvloop refuses to write to a transport that it has closed, which it does by itself when the other
side resets the connection, with a ``RuntimeError``. asyncio's own loop says nothing or raises an
``OSError``, and redis-py knows those only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError


def noticing_losses(connection_class: type[Any]) -> type[Any]:
    """The class of connections that say ``ConnectionError`` where they can't be written to."""
    return type(f"Noticing{connection_class.__name__}", (_Noticing, connection_class), {})


class _Noticing:
    """Nothing was sent, and redis-py has closed its side: the next command connects anew."""

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        parent: Any = super()
        try:
            await parent.send_packed_command(command, check_health)
        except RuntimeError as refusal:
            raise RedisConnectionError(f"the connection was lost: {refusal}") from refusal
