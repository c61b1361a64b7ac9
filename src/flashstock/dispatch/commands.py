"""What was done to orders, by whom: how a repetition is told from a second one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.dispatch.tables import order_commands
from flashstock.errors import IdempotencyMismatch
from flashstock.model.ids import digest_of


@dataclass(frozen=True, slots=True)
class Command:
    """One request about one order. Whoever repeats its id repeats the same request."""

    id: str
    kind: str
    order_no: str
    actor: str
    payload: Any = None

    @property
    def payload_digest(self) -> str:
        """Tells two requests apart."""
        said = [self.kind, self.order_no, self.payload]
        return digest_of("order command", orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode())


async def begin(connection: AsyncConnection, command: Command, at_ms: int) -> bool:
    """Note the command in the transaction that carries it out. The book must be locked.

    Returns:
        False where it was carried out before: nothing is left to be done.

    Raises:
        IdempotencyMismatch: another request has this id.
    """
    known = select(order_commands.c.payload_digest).where(order_commands.c.id == command.id)
    earlier = (await connection.execute(known)).scalar_one_or_none()
    if earlier is not None:
        if earlier != command.payload_digest:
            raise IdempotencyMismatch("this Idempotency-Key did something else")
        return False
    row = {
        "id": command.id,
        "payload_digest": command.payload_digest,
        "order_no": command.order_no,
        "kind": command.kind,
        "actor": command.actor,
        "at_ms": at_ms,
    }
    await connection.execute(insert(order_commands), row)
    return True
