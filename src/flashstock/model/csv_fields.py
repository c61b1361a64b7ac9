"""Cells as values: what a cell may hold, and the words where it holds something else."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from flashstock.model.csv_rows import CsvRow, CsvTable, Problems

TEXT_LENGTH_MAX: Final = 500
UNITS_MAX: Final = 1_000_000_000
MINOR_MAX: Final = 1_000_000_000_000
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,15}")


class Fields:
    """Reads the cells of one row, and notes what is wrong with them. Nothing is raised."""

    def __init__(self, row: CsvRow, problems: Problems) -> None:
        self._row = row
        self._problems = problems

    @property
    def line(self) -> int:
        return self._row.line

    def wrong(self, column: str, problem: str) -> None:
        """Note what is wrong with a cell."""
        self._problems.add(self._row.line, column, problem)

    def has(self, column: str) -> bool:
        """Whether the cell says something."""
        return bool(self._row.cells.get(column, "").strip())

    def text(
        self,
        column: str,
        *,
        required: bool = False,
        pattern: str | None = None,
        words: str = "has another form",
        length_max: int = TEXT_LENGTH_MAX,
    ) -> str:
        """The cell, spaces around it left out; line ends and tabs inside become spaces."""
        raw = self._row.cells.get(column, "").strip()
        text = re.sub(r"[\t\r\n]+", " ", raw)
        if required and not text:
            self.wrong(column, "is required")
        elif len(text) > length_max:
            self.wrong(column, f"has more than {length_max} characters")
        elif _CONTROLS.search(text):
            self.wrong(column, "must not hold control characters")
        elif text and pattern is not None and re.fullmatch(pattern, text) is None:
            self.wrong(column, words)
        return text

    def number(
        self, column: str, low: int, high: int, *, default: int = 0, required: bool = False
    ) -> int:
        """A whole number; the default where the cell is empty."""
        text = self._row.cells.get(column, "").strip()
        if not text:
            if required:
                self.wrong(column, "is required")
            return default
        if _INTEGER.fullmatch(text) is None:
            self.wrong(column, "must be a whole number")
            return default
        value = int(text)
        if not low <= value <= high:
            self.wrong(column, f"must lie between {low} and {high}")
            return default
        return value

    def time(self, column: str, *, required: bool = False) -> int:
        """Milliseconds since the epoch of an RFC 3339 time with an offset; 0 where it is empty."""
        text = self.text(column, required=required)
        if not text:
            return 0
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.wrong(column, "must be a time with an offset, like 2026-11-22T03:00:00.000Z")
            return 0
        return (moment - _EPOCH) // timedelta(milliseconds=1)


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")


def check_columns(table: CsvTable, known: tuple[str, ...], required: tuple[str, ...]) -> None:
    """Raises ``CsvRefused`` where a column is missing, or is none of ours: it may be a slip."""
    problems = Problems()
    for name in required:
        if name not in table.columns:
            problems.add(1, name, "this column is missing")
    for name in table.columns:
        if name not in known:
            problems.add(1, name[:100], f"is not known here; known are {', '.join(known)}")
    problems.refuse()
