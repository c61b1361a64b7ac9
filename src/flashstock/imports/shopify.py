"""Shopify's inventory CSV: one row for each variant and location.

Two layouts are about: the older one has ``Incoming … Available, On hand``; the newer one marks what
can't be edited, and has ``On hand (current)`` and ``On hand (new)``. Both are read; the older one,
which every tool takes, is written.
"""

from __future__ import annotations

from typing import Final

from flashstock.model.csv_rows import CsvTable

COLUMNS: Final = (
    "Handle",
    "Title",
    "Option1 Name",
    "Option1 Value",
    "Option2 Name",
    "Option2 Value",
    "Option3 Name",
    "Option3 Value",
    "SKU",
    "HS Code",
    "COO",
    "Location",
    "Incoming",
    "Unavailable",
    "Committed",
    "Available",
    "On hand",
)
NOT_STOCKED: Final = "not stocked"
AVAILABLE: Final = "available"
NEW_ON_HAND: Final = "on hand (new)"
_NEEDED: Final = ("handle", "sku", "location")


def is_shopify(table: CsvTable) -> bool:
    """Whether the columns are those of an inventory file."""
    return set(_NEEDED) <= set(table.columns)


def quantity_column(table: CsvTable) -> str | None:
    """The column that says what there is to be, or ``None`` where there is none.

    ``On hand (new)`` where there is one: it is the one column which the newer layout lets a person
    edit, and it sets what is on hand. Else ``Available``, which sets what is available.
    """
    for name in (NEW_ON_HAND, AVAILABLE):
        if name in table.columns:
            return name
    return None
