"""CSV as it comes from shops and spreadsheets: read strictly, and every complaint names its line.

Reading and writing are inverse to each other, spreadsheets included: a cell that a spreadsheet
would take for a formula is written with an apostrophe before it, and read without.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

BYTES_MAX: Final = 32 * 1024 * 1024
ROWS_MAX: Final = 100_000
"""Rows are kept in memory until all are known to be good: this bounds how much."""
COLUMNS_MAX: Final = 200
PROBLEMS_SHOWN_MAX: Final = 100
_DELIMITERS: Final = ",;\t"
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
"""What a spreadsheet would reckon with, apostrophes that shield it already included."""
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class CsvProblem:
    """What is wrong, and where. ``line`` counts from 1; ``column`` is empty for a whole line."""

    line: int
    column: str
    problem: str


class CsvRefused(ValueError):
    """The file can't be read, or what it says can't be taken."""

    def __init__(self, problems: Sequence[CsvProblem], count: int | None = None) -> None:
        super().__init__(problems[0].problem)
        self.problems = list(problems)
        self.count = len(problems) if count is None else count


@dataclass(slots=True)
class Problems:
    """Collects complaints: shows the first ones, counts all."""

    shown: list[CsvProblem] = field(default_factory=list)
    count: int = 0

    def add(self, line: int, column: str, problem: str) -> None:
        """Note one."""
        self.count += 1
        if len(self.shown) < PROBLEMS_SHOWN_MAX:
            self.shown.append(CsvProblem(line, column, problem))

    def refuse(self) -> None:
        """Raise ``CsvRefused`` where there is a complaint."""
        if self.count:
            raise CsvRefused(self.shown, self.count)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One row: where it begins, and its cells by the name of their column, in small letters."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CsvTable:
    columns: tuple[str, ...]
    rows: tuple[CsvRow, ...]


def read_csv(body: bytes, *, rows_max: int = ROWS_MAX) -> CsvTable:
    """Everything a file says.

    Commas, semicolons or tabs between cells, whichever the first line has most of; any kind of line
    end, also inside quotes; UTF-8 with or without a mark. Lines without anything are left out.

    Raises:
        CsvRefused: it is not UTF-8, the quotes don't match, a row has other columns than the first
            line, or there are too many rows.
    """
    text = _decoded(body)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    problems = Problems()
    columns: tuple[str, ...] = ()
    rows: list[CsvRow] = []
    line = 1
    try:
        for cells in reader:
            began, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = _columns(began, cells)
                continue
            if len(cells) != len(columns):
                wanted = f"has {len(cells)} cells, the first line has {len(columns)}"
                problems.add(began, "", wanted)
                continue
            if len(rows) == rows_max:
                raise CsvRefused([CsvProblem(began, "", f"there are more than {rows_max} rows")])
            values = {name: plain_cell(cell) for name, cell in zip(columns, cells, strict=True)}
            rows.append(CsvRow(began, values))
    except csv.Error as problem:
        problems.add(max(1, reader.line_num), "", f"is not CSV: {problem}")
    problems.refuse()
    if not columns:
        raise CsvRefused([CsvProblem(1, "", "the file is empty: its first line names the columns")])
    return CsvTable(columns, tuple(rows))


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula. ``plain_cell`` is the inverse."""
    return f"'{text}" if _FORMULA.match(text) else text


def plain_cell(text: str) -> str:
    """The text that ``safe_cell`` wrote."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def written_rows(rows: Iterable[Sequence[str | int | None]]) -> str:
    """CSV of these rows, lines ended as RFC 4180 has it; ``None`` is an empty cell."""
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\r\n")
    for row in rows:
        writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return written.getvalue()


def _decoded(body: bytes) -> str:
    if body.startswith(_UTF_16):
        raise CsvRefused([CsvProblem(1, "", "is UTF-16; save the file as UTF-8")])
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = body.count(b"\n", 0, problem.start) + 1
        said = f"byte 0x{body[problem.start]:02x} is not UTF-8; save the file as UTF-8"
        raise CsvRefused([CsvProblem(line, "", said)]) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CsvRefused([CsvProblem(line, "", "holds a NUL character")])
    return text


def _delimiter(text: str) -> str:
    """What the first line that says something has most of, quoted parts left out."""
    first = next((line for line in io.StringIO(text, newline="") if line.strip()), "")
    outside = "".join(first.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _columns(line: int, cells: Sequence[str]) -> tuple[str, ...]:
    names = tuple(cell.strip().lower() for cell in cells)
    if len(names) > COLUMNS_MAX:
        raise CsvRefused([CsvProblem(line, "", f"has more than {COLUMNS_MAX} columns")])
    problems = Problems()
    for number, name in enumerate(names, start=1):
        if not name:
            problems.add(line, "", f"column {number} has no name")
        elif names.index(name) != number - 1:
            problems.add(line, name[:100], "stands there twice")
    problems.refuse()
    return names
