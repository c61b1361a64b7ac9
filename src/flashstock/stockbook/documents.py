"""Documents of the stock book, a head and lines each: how one is read, and a page of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.errors import DocumentClosed, NotFound


class Document(Protocol):
    @property
    def id(self) -> int: ...

    @property
    def state(self) -> StrEnum: ...


Kind = TypeVar("Kind", bound=Document)
Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Documents(Generic[Kind]):
    """Documents of one kind.

    Args:
        name: what one is called: in messages, in errors, and by its lines, which name it so.
        heads: their table.
        lines: that of their lines, which are of one SKU each.
        state: what they can be in.
        read: makes one of the columns of its head and of each line, by SKU.
        unknown: what there is none of.
    """

    name: str
    heads: Table
    lines: Table
    state: type[StrEnum]
    read: Callable[[Columns, Sequence[Columns]], Kind]
    unknown: type[NotFound]

    async def one(self, connection: AsyncConnection, number: int) -> Kind:
        """Raises ``unknown`` where there is none of this number."""
        rows = await connection.execute(select(self.heads).where(self.heads.c.id == number))
        found = await self._with_lines(connection, rows.all())
        if not found:
            message = f"there is no {self.name} {number}"
            raise self.unknown(message, **{self.name: number})
        return found[0]

    async def page(
        self, connection: AsyncConnection, after: int, limit: int, state: StrEnum | None
    ) -> list[Kind]:
        """The next ones by number, those of one state if one is named."""
        heads = self.heads.c
        statement = select(self.heads).where(heads.id > after).order_by(heads.id).limit(limit)
        if state is not None:
            statement = statement.where(heads.state == state.value)
        rows = await connection.execute(statement)
        return await self._with_lines(connection, rows.all())

    def must_be(self, found: Kind, state: StrEnum) -> Kind:
        """Raises ``DocumentClosed`` where it is in another state."""
        if found.state is not state:
            extra = {self.name: found.id, "state": found.state.value}
            raise DocumentClosed(f"{self.name} {found.id} is {found.state}", **extra)
        return found

    async def _with_lines(self, connection: AsyncConnection, rows: Sequence[Any]) -> list[Kind]:
        lines: dict[int, list[Columns]] = {row.id: [] for row in rows}
        document = self.lines.c[self.name]
        statement = select(self.lines).where(document.in_(list(lines))).order_by(self.lines.c.sku)
        for row in await connection.execute(statement):
            columns = row._asdict()
            lines[columns.pop(self.name)].append(columns)
        return [self.read(self._head(row), lines[row.id]) for row in rows]

    def _head(self, row: Any) -> Columns:
        columns: dict[str, Any] = row._asdict()
        # How a repetition of what opened it is known: nobody's but the command's.
        del columns["command_id"], columns["payload_digest"]
        columns["state"] = self.state(row.state)
        return columns
