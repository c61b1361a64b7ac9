"""Small trading days, written as the data set is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def row(
    invoice: str = "1",
    code: str = "85123A",
    quantity: object = 6,
    at: str = "2010-12-01 08:26:00",
    price: object = "2.55",
    buyer: str = "17850.0",
    description: str = "WHITE HANGING HEART",
) -> str:
    return f"{invoice},{code},{description},{quantity},{at},{price},{buyer},United Kingdom"


def lines(rows: Sequence[str], header: str = HEADER) -> list[str]:
    return [f"{line}\n" for line in (header, *rows)]


def write(path: Path, rows: Sequence[str], header: str = HEADER, encoding: str = "utf-8") -> Path:
    path.write_text("".join(lines(rows, header)), encoding=encoding)
    return path
