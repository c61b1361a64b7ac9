"""The fields of a group-buy, in the form of a pool and of each item of a campaign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flashstock.console.routing import Asked
from flashstock.errors import InvalidRequest
from flashstock.model.group_rules import parse_group_rules

_NUMBERS: Final = ("life_seconds", "seats_per_buyer", "groups_per_buyer", "open_max", "house_max")
_CHOICES: Final = ("type", "deduct")


@dataclass(frozen=True, slots=True)
class GroupFields:
    """The rules as text, as it stands in the fields. Without a size it sells to anyone."""

    size: str = ""
    life_seconds: str = ""
    type: str = "ordinary"
    deduct: str = "pay"
    seats_per_buyer: str = ""
    groups_per_buyer: str = ""
    open_max: str = ""
    house_max: str = ""
    tiers: str = ""


def group_fields(rules_text: str) -> GroupFields:
    """The fields of rules as they are stored; of none, empty ones."""
    if not rules_text:
        return GroupFields()
    rules = parse_group_rules(rules_text)
    return GroupFields(
        size=str(rules.size),
        life_seconds=str(rules.life_ms // 1_000),
        type=rules.type.value,
        deduct=rules.deduct.value,
        seats_per_buyer=str(rules.seats_per_buyer),
        groups_per_buyer=str(rules.groups_per_buyer or ""),
        open_max=str(rules.open_max or ""),
        house_max=str(rules.house_max or ""),
        tiers="\n".join(f"{tier.seats} {tier.price_minor}" for tier in rules.tiers),
    )


def asked_group_buy(asked: Asked, suffix: str = "") -> dict[str, Any] | None:
    """What the fields ask for, as the API's own request has it; ``None``: it sells to anyone.

    Args:
        suffix: of the names of the fields, where a form has several group-buys.

    Raises:
        InvalidRequest: a field can't be read, or rules are filled in and the size is not.
    """
    size = asked.number_or_none(f"group_size{suffix}")
    rules: dict[str, Any] = {
        name: asked.number_or_none(f"group_{name}{suffix}") for name in _NUMBERS
    }
    tiers = _tiers(asked.text_or_none(f"group_tiers{suffix}"), f"group_tiers{suffix}")
    if size is None:
        if tiers or any(value is not None for value in rules.values()):
            raise _wrong(f"group_size{suffix}", "groups need a number of seats")
        return None
    rules |= {name: asked.text_or_none(f"group_{name}{suffix}") for name in _CHOICES}
    known = {name: value for name, value in rules.items() if value is not None}
    return {"size": size, **known, "tiers": tiers}


def _tiers(text: str | None, name: str) -> list[dict[str, int]]:
    tiers = []
    for line in (text or "").splitlines():
        if not line.strip():
            continue
        words = line.split()
        if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
            raise _wrong(name, "each line is a number of seats and a price: 10 1490")
        tiers.append({"seats": int(words[0]), "price_minor": int(words[1])})
    return tiers


def _wrong(name: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{name}: {problem}", errors=[{"field": name, "problem": problem}])
