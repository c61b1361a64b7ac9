"""Campaigns from CSV: a row an item; rows of one name are one campaign. They become drafts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from flashstock.model.csv_fields import MINOR_MAX, UNITS_MAX, Fields, check_columns
from flashstock.model.csv_rows import Problems, read_csv
from flashstock.model.rules import HOLD_SECONDS_DEFAULT, HOLD_SECONDS_MAX, POOL_QUANTITY_MAX
from flashstock.model.stock import SKU_PATTERN

COLUMNS: Final = (
    "campaign",
    "starts_at",
    "ends_at",
    "per_buyer_limit",
    "hold_minutes",
    "sku",
    "title",
    "quantity",
    "price_minor",
    "currency",
)
PASSED_OVER: Final = ("code", "revision", "status", "item", "pool")
"""They are in the export; a draft gets its own."""
REQUIRED: Final = ("campaign", "starts_at", "ends_at", "sku", "quantity")
ROWS_MAX: Final = 10_000
ITEMS_MAX: Final = 200
NAME_LENGTH_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class ItemRow:
    line: int
    sku: str
    quantity: int
    title: str
    price_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class CampaignRows:
    """One campaign. Times are ms since the epoch."""

    line: int
    name: str
    starts_at_ms: int
    ends_at_ms: int
    per_buyer_limit: int
    hold_ms: int
    items: tuple[ItemRow, ...]


def parse_campaigns(body: bytes) -> tuple[CampaignRows, ...]:
    """Read every campaign of a file, in the order of their first rows.

    Raises:
        CsvRefused: with every row that can't be taken; among them those that contradict the first
            row of their campaign.
    """
    table = read_csv(body, rows_max=ROWS_MAX)
    check_columns(table, (*COLUMNS, *PASSED_OVER), REQUIRED)
    problems = Problems()
    heads: dict[str, CampaignRows] = {}
    items: dict[str, list[ItemRow]] = {}
    for row in table.rows:
        fields = Fields(row, problems)
        head = _head(fields)
        first = heads.setdefault(head.name, head)
        if _terms(first) != _terms(head):
            fields.wrong("campaign", f"line {first.line} says otherwise of this campaign")
        items.setdefault(head.name, []).append(_item(fields))
        if len(items[head.name]) > ITEMS_MAX:
            fields.wrong("campaign", f"has more than {ITEMS_MAX} items")
    problems.refuse()
    return tuple(replace(head, items=tuple(items[name])) for name, head in heads.items())


def _terms(head: CampaignRows) -> tuple[int, ...]:
    return head.starts_at_ms, head.ends_at_ms, head.per_buyer_limit, head.hold_ms


def _head(fields: Fields) -> CampaignRows:
    name = fields.text("campaign", required=True, length_max=NAME_LENGTH_MAX)
    starts_at_ms = fields.time("starts_at", required=True)
    ends_at_ms = fields.time("ends_at", required=True)
    if starts_at_ms and ends_at_ms and ends_at_ms <= starts_at_ms:
        fields.wrong("ends_at", "must be later than starts_at")
    limit = fields.number("per_buyer_limit", 0, POOL_QUANTITY_MAX)
    minutes = fields.number(
        "hold_minutes", 1, HOLD_SECONDS_MAX // 60, default=HOLD_SECONDS_DEFAULT // 60
    )
    return CampaignRows(fields.line, name, starts_at_ms, ends_at_ms, limit, minutes * 60_000, ())


def _item(fields: Fields) -> ItemRow:
    return ItemRow(
        fields.line,
        fields.text("sku", required=True, pattern=SKU_PATTERN),
        fields.number("quantity", 1, UNITS_MAX, default=1, required=True),
        fields.text("title"),
        fields.number("price_minor", 0, MINOR_MAX),
        fields.text("currency", pattern="[A-Z]{3}", words="must be three capital letters"),
    )
