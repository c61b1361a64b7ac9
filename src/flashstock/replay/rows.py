"""From lines of text to rows of a trading day; what can't be a row gets a reason."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from flashstock.errors import ConfigurationError

COLUMNS: Final = (
    "InvoiceNo",
    "StockCode",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
)
"""The columns that a day must have."""
COLUMNS_IF_THERE: Final = ("Description", "Country")
"""Columns that are read where there are any; others are passed over."""
RECORD_LINES_MAX: Final = 10
"""Lines that one quoted record may span; an unclosed quote must not swallow the day."""
INTEGER: Final = re.compile(r"([+-]?\d{1,12})(?:\.0+)?", re.ASCII)
DECIMAL: Final = re.compile(r"[+-]?\d{1,12}(?:\.\d{1,12})?", re.ASCII)
BUYER: Final = re.compile(r"(\d+)\.0+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an invoice. ``buyer`` is empty for a guest; ``at`` is UTC. Description and
    country are empty where the file does not tell them."""

    line: int
    invoice: str
    stock_code: str
    quantity: int
    at: datetime
    unit_price: Decimal
    buyer: str
    description: str = ""
    country: str = ""


class BadRow(NamedTuple):
    """A record that is no row, and why."""

    line: int
    reason: str


class _Record(NamedTuple):
    line: int
    fields: list[str] | None


def parse_rows(lines: Sequence[str]) -> Iterator[Row | BadRow]:
    """Every record after the header, in order of the file.

    Raises:
        ConfigurationError: the header lacks a column, or names one twice.
    """
    records = _records(lines)
    header = next(records, _Record(1, None)).fields or []
    position_of = _positions(header)
    for record in records:
        if record.fields is None or len(record.fields) != len(header):
            yield BadRow(record.line, "malformed_row")
        else:
            values = {name: record.fields[at].strip() for name, at in position_of.items()}
            yield _row(record.line, values)


def _positions(header: Sequence[str]) -> dict[str, int]:
    names = [name.strip() for name in header]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise ConfigurationError(
            f"the header lacks {', '.join(missing)}; it has {', '.join(names)[:300]}"
        )
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise ConfigurationError(f"the header names {', '.join(twice)} more than once")
    optional = [name for name in COLUMNS_IF_THERE if name in names]
    return {name: names.index(name) for name in (*COLUMNS, *optional)}


def _records(lines: Sequence[str]) -> Iterator[_Record]:
    """Records with the line they begin at; no fields where the quotes make none."""
    index = 0
    while index < len(lines):
        if not lines[index].strip():
            index += 1
            continue
        fields, span = _record_at(lines, index)
        yield _Record(index + 1, fields)
        index += span


def _record_at(lines: Sequence[str], index: int) -> tuple[list[str] | None, int]:
    for span in range(1, RECORD_LINES_MAX + 1):
        taken = lines[index : index + span]
        if len(taken) < span:
            break
        try:
            return next(csv.reader(taken, strict=True)), span
        except csv.Error:
            # Most likely a quote that is open: the record may go on in the next line.
            continue
    return None, 1


def _row(line: int, values: dict[str, str]) -> Row | BadRow:
    if not values["InvoiceNo"] or not values["StockCode"]:
        return BadRow(line, "missing_field")
    quantity = INTEGER.fullmatch(values["Quantity"])
    if quantity is None:
        return BadRow(line, "bad_quantity")
    at = _time(values["InvoiceDate"])
    if at is None:
        return BadRow(line, "bad_date")
    if DECIMAL.fullmatch(values["UnitPrice"]) is None:
        return BadRow(line, "bad_price")
    return Row(
        line=line,
        invoice=values["InvoiceNo"],
        stock_code=values["StockCode"],
        quantity=int(quantity[1]),
        at=at,
        unit_price=Decimal(values["UnitPrice"]),
        buyer=_buyer(values["CustomerID"]),
        description=values.get("Description", ""),
        country=values.get("Country", ""),
    )


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _buyer(text: str) -> str:
    """``17850.0`` is how a table with gaps writes the number 17850."""
    number = BUYER.fullmatch(text)
    return number[1] if number is not None else text
