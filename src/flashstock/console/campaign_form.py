"""The form of a campaign: its fields, and what they ask for.

What the form has no field for (gifts, presale) stays as the revision before has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from flashstock.api.bodies import format_time
from flashstock.campaigns.terms import ITEMS_MAX, Item, Terms
from flashstock.console.group_form import GroupFields, asked_group_buy, group_fields
from flashstock.console.routing import Asked, as_utc
from flashstock.errors import InvalidRequest

BLANK_ROWS: Final = 2


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item as text. ``number`` is empty where it is new."""

    number: str = ""
    sku: str = ""
    quantity: str = ""
    price_minor: str = ""
    currency: str = ""
    title: str = ""
    waves: str = ""
    group: GroupFields = field(default_factory=GroupFields)
    kept: str = ""
    """What stays as it is, in words."""


@dataclass(frozen=True, slots=True)
class CampaignForm:
    """Everything as text, as it stands in the fields."""

    name: str = ""
    starts_at: str = ""
    ends_at: str = ""
    per_buyer_limit: str = ""
    limit_across_items: bool = False
    hold_seconds: str = "900"
    deduct: str = "hold"
    audience: str = ""
    channels: str = ""
    locations: str = ""
    items: Sequence[ItemRow] = field(default_factory=tuple)


def filled_form(terms: Terms | None) -> CampaignForm:
    """The form of these terms, with some rows for more items; of a new campaign without any."""
    blank = [ItemRow() for _ in range(BLANK_ROWS)]
    if terms is None:
        return CampaignForm(items=blank)
    return CampaignForm(
        name=terms.name,
        starts_at=_in_field(terms.starts_at_ms),
        ends_at=_in_field(terms.ends_at_ms),
        per_buyer_limit=str(terms.per_buyer_limit or ""),
        limit_across_items=terms.limit_across_items,
        hold_seconds=str(terms.hold_ms // 1_000),
        deduct=terms.deduct.value,
        audience=terms.audience,
        channels=", ".join(terms.channels),
        locations=", ".join(terms.places),
        items=[*(_row(item) for item in terms.items), *blank],
    )


def asked_terms(asked: Asked, before: Terms | None) -> dict[str, Any]:
    """What the form asks for, as the API's own request has it.

    Args:
        before: the terms that the form was filled with, if it was.

    Raises:
        InvalidRequest: a field can't be read.
    """
    known = {item.number: item for item in (before.items if before else ())}
    fields: dict[str, Any] = {
        "name": asked.field("name"),
        "starts_at": asked.time_or_none("starts_at"),
        "ends_at": asked.time_or_none("ends_at"),
        "per_buyer_limit": asked.number_or_none("per_buyer_limit"),
        "limit_across_items": "limit_across_items" in asked.form,
        "hold_seconds": asked.number_or_none("hold_seconds"),
        "deduct": asked.text_or_none("deduct"),
        "audience": asked.text_or_none("audience"),
        "channels": _listed(asked.text_or_none("channels")),
        "locations": _listed(asked.text_or_none("locations")),
        "items": [
            item
            for row in range(ITEMS_MAX + BLANK_ROWS)
            if (item := _asked_item(asked, row, known)) is not None
        ],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _asked_item(asked: Asked, row: int, known: Mapping[int, Item]) -> dict[str, Any] | None:
    """One row; ``None`` where nothing is in it, which is how an item is left out."""
    sku = asked.text_or_none(f"sku-{row}")
    if sku is None:
        return None
    number = asked.number_or_none(f"number-{row}")
    item: dict[str, Any] = {
        "item": number,
        "sku": sku,
        "quantity": asked.whole_number(f"quantity-{row}"),
        "price_minor": asked.number_or_none(f"price_minor-{row}"),
        "currency": asked.text_or_none(f"currency-{row}"),
        "title": asked.text_or_none(f"title-{row}"),
        "waves": _waves(asked.text_or_none(f"waves-{row}"), f"waves-{row}"),
        "group_buy": asked_group_buy(asked, f"-{row}"),
    }
    kept = known.get(number or 0)
    if kept is not None and kept.sku == sku:
        item["presale"] = kept.presale
        item["deposit_minor"] = kept.deposit_minor
        item["gifts"] = [asdict(gift) for gift in kept.gifts]
    return {name: value for name, value in item.items() if value is not None}


def _row(item: Item) -> ItemRow:
    kept = []
    if item.presale:
        kept.append(f"presale, deposit {item.deposit_minor:,} minor units")
    kept += [f"gift tier {gift.tier}: {gift.quantity:,} of {gift.sku}" for gift in item.gifts]
    return ItemRow(
        number=str(item.number),
        sku=item.sku,
        quantity=str(item.quantity),
        price_minor=str(item.price_minor or ""),
        currency=item.currency,
        title=item.title,
        waves="\n".join(f"{format_time(wave.at_ms)} {wave.quantity}" for wave in item.waves),
        group=group_fields(item.group_buy),
        kept="; ".join(kept),
    )


def _waves(text: str | None, name: str) -> list[dict[str, Any]]:
    waves = []
    for line in (text or "").splitlines():
        if not line.strip():
            continue
        moment, _, quantity = line.strip().rpartition(" ")
        if not moment or not (quantity.isascii() and quantity.isdigit()):
            problem = "each line is a time and a number of units: 2026-11-22T03:00:00Z 100"
            raise InvalidRequest(f"{name}: {problem}", errors=[{"field": name, "problem": problem}])
        at = as_utc(moment.strip().replace(" ", "T"))
        waves.append({"at": at, "quantity": int(quantity)})
    return waves


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _in_field(at_ms: int) -> str:
    """As ``<input type="datetime-local" step="0.001">`` has it, in UTC."""
    moment = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
