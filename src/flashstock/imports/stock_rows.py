"""Stock from CSV: "there are to be so many", which becomes movements of the difference.

Nobody edits a stock number: what is more than the book says is received from a stocktake, what is
less is written off to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.imports.results import Result
from flashstock.imports.shopify import NEW_ON_HAND, NOT_STOCKED, is_shopify, quantity_column
from flashstock.model.csv_fields import UNITS_MAX, Fields, check_columns
from flashstock.model.csv_rows import CsvProblem, CsvRefused, CsvTable, Problems, read_csv
from flashstock.model.ids import digest_of
from flashstock.model.stock import (
    POSTINGS_MAX,
    SKU_PATTERN,
    MovementKind,
    Posting,
    StockCommand,
    StockState,
)
from flashstock.stockbook.posting import post
from flashstock.stockbook.tables import BALANCE_COLUMNS, locations, skus, stock_balances

REQUIRED: Final = ("sku", "location", "available")
KNOWN: Final = (*REQUIRED, *(name for name in BALANCE_COLUMNS if name not in REQUIRED))
"""The other balances are in the export and are passed over: nobody sets them."""
ROWS_MAX: Final = 20_000
"""Each row that changes something is a posting, and meanwhile nobody else moves stock."""
REASON: Final = "import"
_AT_ONCE: Final = 500

Cell = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """So many are to be available, or (``on_hand``) on hand, at a location by code or name."""

    line: int
    sku: str
    place: str
    units: int
    on_hand: bool = False


@dataclass(frozen=True, slots=True)
class StockRows:
    rows: tuple[Wanted, ...]
    skipped: int = 0


def parse_stock(body: bytes) -> StockRows:
    """Read our own layout (``sku, location, available``), or Shopify's inventory file.

    Of Shopify's, rows without a SKU, and those that are not stocked, are skipped.

    Raises:
        CsvRefused: with every row that can't be taken.
    """
    table = read_csv(body, rows_max=ROWS_MAX)
    column = "available"
    shopify = is_shopify(table)
    if shopify:
        found = quantity_column(table)
        if found is None:
            raise CsvRefused([CsvProblem(1, "available", "this column is missing")])
        column = found
    else:
        check_columns(table, KNOWN, REQUIRED)
    return _parsed(table, column, shopify=shopify)


def _parsed(table: CsvTable, column: str, *, shopify: bool) -> StockRows:
    problems = Problems()
    seen: dict[Cell, int] = {}
    rows, skipped = [], 0
    for row in table.rows:
        fields = Fields(row, problems)
        if shopify and _is_skipped(fields, row.cells[column]):
            skipped += 1
            continue
        sku = fields.text("sku", required=True, pattern=SKU_PATTERN)
        place = fields.text("location", required=True)
        units = fields.number(column, 0, UNITS_MAX, required=True)
        if (sku, place) in seen:
            fields.wrong("sku", f"stands in line {seen[sku, place]} for this location, too")
        seen.setdefault((sku, place), row.line)
        rows.append(Wanted(row.line, sku, place, units, column == NEW_ON_HAND))
    problems.refuse()
    return StockRows(tuple(rows), skipped)


def _is_skipped(fields: Fields, quantity: str) -> bool:
    text = quantity.strip().lower()
    return not fields.has("sku") or not text or text == NOT_STOCKED


async def apply_stock(
    connection: AsyncConnection, parsed: StockRows, import_id: str, actor: str, at_ms: int
) -> Result:
    """Post the differences, inside the caller's transaction, which has locked the book.

    Raises:
        CsvRefused: a SKU or a location is not known, or fewer would be on hand than are taken, or
            fewer available than virtual stock alone makes them.
    """
    result = Result(rows=len(parsed.rows) + parsed.skipped, skipped=parsed.skipped)
    codes = await _codes(connection)
    problems = Problems()
    gains: list[Posting] = []
    losses: list[Posting] = []
    seen: dict[Cell, int] = {}
    for start in range(0, len(parsed.rows), _AT_ONCE):
        part = parsed.rows[start : start + _AT_ONCE]
        balances = await _balances(connection, part, problems)
        for row in part:
            code = codes.get(row.place)
            if code is None:
                problems.add(row.line, "location", f"there is no location {row.place!r}")
                continue
            if (row.sku, code) in seen:
                line = seen[row.sku, code]
                problems.add(row.line, "location", f"is that of line {line}, by another name")
            seen[row.sku, code] = row.line
            available, on_hand = balances.get((row.sku, code), (0, 0))
            difference = row.units - (on_hand if row.on_hand else available)
            if available + difference < 0:
                taken = on_hand - available
                problems.add(row.line, NEW_ON_HAND, f"{taken} of them are taken already")
            elif on_hand + difference < 0:
                ahead = available - on_hand
                problems.add(row.line, "available", f"at least {ahead} may be sold ahead of stock")
            _note(result, gains, losses, (row.sku, code), difference)
    problems.refuse()
    await _post(connection, MovementKind.RECEIVE, gains, import_id, actor, at_ms)
    await _post(connection, MovementKind.WRITE_OFF, losses, import_id, actor, at_ms)
    return result


def _note(
    result: Result, gains: list[Posting], losses: list[Posting], cell: Cell, difference: int
) -> None:
    stocktake, available = StockState.STOCKTAKE, StockState.AVAILABLE
    if difference > 0:
        gains.append(Posting(*cell, stocktake, available, difference))
        result.units_in += difference
    elif difference < 0:
        losses.append(Posting(*cell, available, stocktake, -difference))
        result.units_out -= difference
    if difference:
        result.changed += 1
    else:
        result.unchanged += 1


async def _codes(connection: AsyncConnection) -> dict[str, str]:
    """Codes by code, and by name where only one location has it and no code is the same."""
    rows = (await connection.execute(select(locations.c.code, locations.c.name))).all()
    names = [row.name for row in rows]
    by_name = {row.name: row.code for row in rows if row.name and names.count(row.name) == 1}
    return by_name | {row.code: row.code for row in rows}


async def _balances(
    connection: AsyncConnection, rows: Sequence[Wanted], problems: Problems
) -> dict[Cell, tuple[int, int]]:
    """(available, on hand) of these SKUs everywhere; unknown SKUs are noted."""
    names = sorted({row.sku for row in rows})
    known = set(
        (await connection.execute(select(skus.c.sku).where(skus.c.sku.in_(names)))).scalars()
    )
    for row in rows:
        if row.sku not in known:
            problems.add(row.line, "sku", f"there is no SKU {row.sku!r}")
    found = await connection.execute(
        select(
            stock_balances.c.sku,
            stock_balances.c.location,
            stock_balances.c.available,
            stock_balances.c.on_hand,
        ).where(stock_balances.c.sku.in_(names))
    )
    return {(row.sku, row.location): (row.available, row.on_hand) for row in found}


async def _post(
    connection: AsyncConnection,
    kind: MovementKind,
    postings: Sequence[Posting],
    import_id: str,
    actor: str,
    at_ms: int,
) -> None:
    for number, part in enumerate(_parts(postings)):
        command_id = digest_of("import", import_id, kind.value, str(number))
        command = StockCommand(command_id, kind, part, REASON, f"import/{import_id}", actor)
        await post(connection, command, at_ms)


def _parts(postings: Sequence[Posting]) -> Iterable[tuple[Posting, ...]]:
    for start in range(0, len(postings), POSTINGS_MAX):
        yield tuple(postings[start : start + POSTINGS_MAX])
