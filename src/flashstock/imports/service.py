"""Take a file, or refuse it: one transaction, once for each key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

import orjson
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.errors import FileRefused, IdempotencyMismatch, InvalidRequest
from flashstock.imports.campaign_rows import CampaignRows, parse_campaigns
from flashstock.imports.results import Result
from flashstock.imports.sku_rows import apply_skus, parse_skus
from flashstock.imports.stock_rows import apply_stock, parse_stock
from flashstock.imports.tables import imports
from flashstock.ledger.engine import writing
from flashstock.model.csv_rows import CsvProblem, CsvRefused
from flashstock.model.ids import digest_of
from flashstock.stockbook.posting import lock_book

TIMEOUT_MS: Final = 300_000
"""For everything of one import together."""

DraftCampaign = Callable[[AsyncConnection, CampaignRows, str, str], Awaitable[str]]
"""Draft a campaign inside the caller's transaction: (connection, campaign, actor, key) → its code.
Raises ``InvalidRequest`` where it can't be one."""

Notice = Callable[[AsyncConnection, Sequence[str], int], Awaitable[None]]
"""Told inside the transaction: (connection, SKUs, at)."""


class ImportKind(StrEnum):
    SKUS = "skus"
    STOCK = "stock"
    CAMPAIGNS = "campaigns"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or (a dry run) would do. ``replayed``: an earlier request did it."""

    document: dict[str, Any]
    replayed: bool = False


class _DryRun(Exception):
    """Ends a transaction that is to leave nothing behind."""


class Imports:
    """Takes files. Every method raises ``LedgerUnavailable`` where SQL does not answer.

    Args:
        clock: ms since the epoch.
        draft: drafts campaigns.
        on_safety_stock: told of SKUs whose safety stock changed: fewer or more may be shown.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Callable[[], int],
        draft: DraftCampaign,
        on_safety_stock: Notice,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._draft = draft
        self._on_safety_stock = on_safety_stock

    async def run(
        self, kind: ImportKind, body: bytes, caller: str, key: str, *, dry_run: bool
    ) -> Imported:
        """Import a file: all of it, or nothing. A dry run does the same and leaves nothing behind.

        Raises:
            FileRefused: with lines and columns; nothing was taken.
            IdempotencyMismatch: the key imported another file.
        """
        import_id = digest_of("import", caller, key)
        payload = f"{kind.value}:{sha256(body).hexdigest()}"
        try:
            # Beside the event loop: reading a large file takes seconds, and buyers must not wait.
            parsed = await asyncio.to_thread(_PARSERS[kind], body)
            return await self._apply(kind, parsed, import_id, payload, caller, dry_run=dry_run)
        except CsvRefused as refused:
            raise file_refused(refused) from None

    async def _apply(
        self,
        kind: ImportKind,
        parsed: Any,
        import_id: str,
        payload: str,
        caller: str,
        *,
        dry_run: bool,
    ) -> Imported:
        document: dict[str, Any] = {}
        try:
            async with writing(self._engine, TIMEOUT_MS) as connection:
                await lock_book(connection)  # also makes two imports of one key go one by one
                earlier = None if dry_run else await _earlier(connection, import_id, payload)
                if earlier is not None:
                    return Imported(earlier, replayed=True)
                result = await self._changed(connection, kind, parsed, import_id, caller)
                document = {"kind": kind.value, "dry_run": dry_run, **result.document()}
                if dry_run:
                    raise _DryRun
                row = {
                    "id": import_id,
                    "kind": kind.value,
                    "payload_digest": payload,
                    "result": orjson.dumps(document).decode(),
                    "actor": caller,
                    "at_ms": self._clock(),
                }
                await connection.execute(insert(imports), row)
        except _DryRun:
            pass
        return Imported(document)

    async def _changed(
        self,
        connection: AsyncConnection,
        kind: ImportKind,
        parsed: Any,
        import_id: str,
        caller: str,
    ) -> Result:
        at_ms = self._clock()
        if kind is ImportKind.SKUS:
            result, kept_back = await apply_skus(connection, parsed, at_ms)
            if kept_back:
                await self._on_safety_stock(connection, kept_back, at_ms)
            return result
        if kind is ImportKind.STOCK:
            return await apply_stock(connection, parsed, import_id, caller, at_ms)
        return await self._drafted(connection, parsed, import_id, caller)

    async def _drafted(
        self,
        connection: AsyncConnection,
        campaigns: tuple[CampaignRows, ...],
        import_id: str,
        caller: str,
    ) -> Result:
        result = Result(rows=sum(len(campaign.items) for campaign in campaigns))
        for number, campaign in enumerate(campaigns):
            key = f"import/{import_id}/{number}"
            try:
                code = await self._draft(connection, campaign, caller, key)
            except InvalidRequest as refused:
                raise CsvRefused([_placed(campaign, refused)]) from None
            result.created += 1
            result.campaigns.append(code)
        return result


_PARSERS: Final[dict[ImportKind, Callable[[bytes], Any]]] = {
    ImportKind.SKUS: parse_skus,
    ImportKind.STOCK: parse_stock,
    ImportKind.CAMPAIGNS: parse_campaigns,
}


def _placed(campaign: CampaignRows, refused: InvalidRequest) -> CsvProblem:
    """The refusal of a draft, in the line of the SKU it speaks of, else in the campaign's first."""
    for item in campaign.items:
        if item.sku == refused.extra.get("sku"):
            return CsvProblem(item.line, "sku", refused.detail)
    return CsvProblem(campaign.line, "campaign", refused.detail)


def file_refused(refused: CsvRefused) -> FileRefused:
    """The refusal as an answer."""
    first = refused.problems[0]
    where = f"line {first.line}" + (f", {first.column}" if first.column else "")
    more = f" (and {refused.count - 1} more)" if refused.count > 1 else ""
    errors = [
        {"line": problem.line, "column": problem.column or None, "problem": problem.problem}
        for problem in refused.problems
    ]
    return FileRefused(f"{where}: {first.problem}{more}", errors=errors, errors_count=refused.count)


async def _earlier(
    connection: AsyncConnection, import_id: str, payload: str
) -> dict[str, Any] | None:
    found = await connection.execute(select(imports).where(imports.c.id == import_id))
    row = found.first()
    if row is None:
        return None
    if row.payload_digest != payload:
        raise IdempotencyMismatch("this Idempotency-Key imported another file")
    result: dict[str, Any] = orjson.loads(row.result)
    return result
