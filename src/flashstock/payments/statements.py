"""Reading a gateway's statement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flashstock.model.csv_fields import MINOR_MAX, Fields, check_columns
from flashstock.model.csv_rows import Problems, read_csv
from flashstock.model.rules import PAYMENT_REF_LENGTH_MAX

COLUMNS: Final = ("payment_ref", "amount_minor", "currency", "kind", "at", "status")
SUCCEEDED: Final = ("succeeded", "success", "paid", "captured", "settled", "completed", "refunded")
NOT_SUCCEEDED: Final = ("failed", "pending", "cancelled", "canceled", "declined", "expired")


class LineKind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Line:
    """Money that moved. ``line`` is where the file says so; times are ms since the epoch."""

    line: int
    kind: LineKind
    payment_ref: str
    amount_minor: int
    currency: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ParsedStatement:
    """The lines that succeeded, and how many others were passed over."""

    lines: tuple[Line, ...]
    skipped: int


def parse_statement(body: bytes) -> ParsedStatement:
    """Read the CSV of a statement.

    Raises:
        CsvRefused: with every row that can't be taken, those of an unknown status among them.
    """
    table = read_csv(body)
    check_columns(table, COLUMNS, COLUMNS)
    problems = Problems()
    lines, skipped = [], 0
    for row in table.rows:
        fields = Fields(row, problems)
        status = fields.text("status", required=True).lower()
        line = _line(fields)
        if status in NOT_SUCCEEDED:
            skipped += 1
        elif status in SUCCEEDED:
            lines.append(line)
        elif status:
            known = ", ".join((*SUCCEEDED, *NOT_SUCCEEDED))
            fields.wrong("status", f"is not known here; known are {known}")
    problems.refuse()
    return ParsedStatement(tuple(lines), skipped)


def _line(fields: Fields) -> Line:
    kind = fields.text("kind", required=True).lower()
    if kind and kind not in tuple(LineKind):
        fields.wrong("kind", "must be payment or refund")
        kind = ""
    return Line(
        fields.line,
        LineKind(kind or LineKind.PAYMENT),
        fields.text("payment_ref", required=True, length_max=PAYMENT_REF_LENGTH_MAX),
        fields.number("amount_minor", 0, MINOR_MAX, required=True),
        fields.text(
            "currency",
            required=True,
            pattern="[A-Z]{3}",
            words="must be three capital letters, like EUR",
        ),
        fields.time("at", required=True),
    )
