"""JSON schemas as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

DEPTH_MAX: Final = 4
"""Documents that contain each other end here."""
Schema = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One field. ``name`` is its path: ``lines[].sku``."""

    name: str
    type: str
    is_required: bool
    description: str
    bounds: str

    def text(self, *, required: bool = True) -> str:
        """What there is to say beside name and type."""
        needed = "**required**" if required and self.is_required else ""
        return " ".join(part for part in (needed, self.description, self.bounds) if part)


def field_rows(document: Schema, schema: Schema, path: str = "", depth: int = 0) -> Iterator[Row]:
    """The fields of an object, and those of the objects in it."""
    schema = _resolved(document, schema)
    if "items" in schema:
        yield from field_rows(document, schema["items"], f"{path}[]", depth)
        return
    for name, field in schema.get("properties", {}).items():
        where = f"{path}.{name}" if path else name
        plain = _resolved(document, field)
        description = field.get("description") or ""
        if not description and not plain.get("properties"):
            description = plain.get("description") or ""
        required = name in schema.get("required", ())
        yield Row(where, _type(document, field), required, description, _bounds(plain))
        if depth < DEPTH_MAX:
            yield from field_rows(document, plain, where, depth + 1)


def _resolved(document: Schema, schema: Schema) -> Schema:
    """What a reference, or something that may be null, stands for."""
    while True:
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif len(kinds := _kinds(schema)) == 1 and kinds[0] is not schema:
            schema = kinds[0]
        else:
            return schema


def _kinds(schema: Schema) -> list[Schema]:
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf") or [schema]
    return [one for one in choices if one.get("type") != "null"]


def _type(document: Schema, schema: Schema) -> str:
    choices = schema.get("anyOf") or schema.get("oneOf") or ()
    if any(one.get("type") == "null" for one in choices):
        return " or ".join(_type(document, one) for one in _kinds(schema)) + " or null"
    if len(_kinds(schema)) > 1:
        return " or ".join(_type(document, one) for one in _kinds(schema))
    plain = _resolved(document, schema)
    if "enum" in plain:
        return " ".join(f"`{value}`" for value in plain["enum"])
    if "const" in plain:
        return f"`{plain['const']}`"
    if plain.get("type") == "array":
        return f"list of {_type(document, plain.get('items', {}))}"
    if plain.get("format") == "date-time":
        return "time"
    return str(plain.get("type", "anything"))


def _bounds(schema: Schema) -> str:
    """Limits a caller should know; patterns are for machines."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{low:,.0f} to {high:,.0f}."
    if high is not None:
        return f"At most {high:,.0f}."
    if low is not None:
        return f"At least {low:,.0f}."
    if length := schema.get("maxLength"):
        return f"At most {length:,} characters."
    return ""
