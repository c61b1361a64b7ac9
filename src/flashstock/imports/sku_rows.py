"""SKUs from CSV: new ones are made, known ones get what the file has columns for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.imports.results import Result
from flashstock.imports.shopify import is_shopify
from flashstock.model.csv_fields import MINOR_MAX, UNITS_MAX, Fields, check_columns
from flashstock.model.csv_rows import CsvTable, Problems, read_csv
from flashstock.model.stock import SKU_PATTERN
from flashstock.stockbook.tables import skus

COLUMNS: Final = (
    "sku",
    "spu",
    "title",
    "price_minor",
    "currency",
    "safety_stock",
    "lead_time_days",
)
SPU_LENGTH_MAX: Final = 128
LEAD_TIME_DAYS_MAX: Final = 3_650
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class SkuRows:
    """What a file says: of each SKU the values of the columns it has."""

    rows: tuple[dict[str, Any], ...]
    columns: tuple[str, ...]
    skipped: int = 0


def parse_skus(body: bytes) -> SkuRows:
    """Read our own layout, or the products of Shopify's inventory file.

    Raises:
        CsvRefused: with every row that can't be taken.
    """
    table = read_csv(body)
    if is_shopify(table):
        return _from_shopify(table)
    check_columns(table, COLUMNS, ("sku",))
    problems = Problems()
    seen: dict[str, int] = {}
    rows = []
    for row in table.rows:
        fields = Fields(row, problems)
        values = _values(fields)
        sku = values["sku"]
        if sku in seen:
            fields.wrong("sku", f"stands in line {seen[sku]}, too")
        seen.setdefault(sku, row.line)
        rows.append({name: values[name] for name in table.columns})
    problems.refuse()
    return SkuRows(tuple(rows), table.columns)


def _values(fields: Fields) -> dict[str, Any]:
    return {
        "sku": _sku(fields),
        "spu": fields.text("spu", length_max=SPU_LENGTH_MAX),
        "title": fields.text("title"),
        "price_minor": fields.number("price_minor", 0, MINOR_MAX),
        "currency": fields.text(
            "currency", pattern="[A-Z]{3}", words="must be three capital letters, like EUR"
        ),
        "safety_stock": fields.number("safety_stock", 0, UNITS_MAX),
        "lead_time_days": fields.number("lead_time_days", 0, LEAD_TIME_DAYS_MAX),
    }


def _sku(fields: Fields) -> str:
    return fields.text(
        "sku",
        required=True,
        pattern=SKU_PATTERN,
        words="must be 1 to 128 characters, no slash among them",
    )


def _from_shopify(table: CsvTable) -> SkuRows:
    """Each SKU once, whichever locations it is at; rows of variants without a SKU are skipped."""
    problems = Problems()
    rows: dict[str, dict[str, Any]] = {}
    skipped = 0
    for row in table.rows:
        fields = Fields(row, problems)
        if not fields.has("sku"):
            skipped += 1
            continue
        sku = _sku(fields)
        options = [fields.text(f"option{number} value") for number in (1, 2, 3)]
        shown = " / ".join(o for o in options if o and o != "Default Title")
        title = fields.text("title")
        values = {
            "sku": sku,
            "spu": fields.text("handle", length_max=SPU_LENGTH_MAX),
            "title": f"{title} ({shown})" if shown and title else title or shown,
        }
        if rows.setdefault(sku, values) != values:
            fields.wrong("sku", "another row says otherwise of this SKU")
    problems.refuse()
    return SkuRows(tuple(rows.values()), ("sku", "spu", "title"), skipped)


async def apply_skus(
    connection: AsyncConnection, parsed: SkuRows, at_ms: int
) -> tuple[Result, list[str]]:
    """Write them, inside the caller's transaction.

    Returns:
        What was done, and the SKUs whose safety stock is another now.
    """
    result = Result(rows=len(parsed.rows) + parsed.skipped, skipped=parsed.skipped)
    kept_back: list[str] = []
    for start in range(0, len(parsed.rows), _AT_ONCE):
        rows = parsed.rows[start : start + _AT_ONCE]
        kept_back += await _apply_some(connection, rows, at_ms, result)
    return result, kept_back


async def _apply_some(
    connection: AsyncConnection, rows: Sequence[dict[str, Any]], at_ms: int, result: Result
) -> list[str]:
    names = [row["sku"] for row in rows]
    found = await connection.execute(select(skus).where(skus.c.sku.in_(names)))
    known = {row.sku: row._asdict() for row in found}
    new = [row for row in rows if row["sku"] not in known]
    if new:
        times = {"created_at_ms": at_ms, "updated_at_ms": at_ms}
        await connection.execute(insert(skus), [{**row, **times} for row in new])
    result.created += len(new)
    for row in rows:
        before = known.get(row["sku"])
        if before is None:
            continue
        if all(before[name] == value for name, value in row.items()):
            result.unchanged += 1
            continue
        result.changed += 1
        values = {**row, "updated_at_ms": at_ms}
        await connection.execute(update(skus).where(skus.c.sku == row["sku"]).values(values))
    return [
        row["sku"]
        for row in rows
        if row.get("safety_stock", known.get(row["sku"], {}).get("safety_stock", 0))
        != known.get(row["sku"], {}).get("safety_stock", 0)
    ]
