"""The HTTP reference, a page for each tag of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from website.schemas import field_rows

Document = dict[str, Any]

EVERYWHERE: Final = frozenset({"401", "403", "405", "413", "415", "500"})
"""The introduction tells of these once."""
METHODS: Final = ("get", "post", "put", "patch", "delete")
_INTRODUCTION: Final = Path(__file__).parent / "introductions" / "http.md"


def http_reference(document: Document) -> dict[str, str]:
    """Name → text of each page."""
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    pages = {
        f"http/{tag}.md": "\n".join(_page(document, tag, text)) + "\n" for tag, text in tags.items()
    }
    rows = (f"| [{tag}](http/{tag}.md) | {text} |" for tag, text in tags.items())
    return {"http.md": _INTRODUCTION.read_text("utf-8") + "\n".join(rows) + "\n", **pages}


def operations(document: Document, tag: str) -> Iterator[tuple[str, str, Document]]:
    """(method, path, operation) of a tag."""
    for path, item in document["paths"].items():
        for method in METHODS:
            operation = item.get(method)
            if operation is not None and tag in operation["tags"]:
                yield method.upper(), path, operation


def _page(document: Document, tag: str, text: str) -> Iterator[str]:
    yield f"# {tag.capitalize()}\n\n{text}\n"
    for method, path, operation in operations(document, tag):
        yield f"## {operation['summary']}\n"
        yield f"`{method} {path}`\n"
        if description := operation.get("description"):
            yield f"{description}\n"
        yield from _parameters(operation)
        yield from _body(document, operation)
        yield from _answers(document, operation)


def _parameters(operation: Document) -> Iterator[str]:
    parameters = operation.get("parameters", ())
    if not parameters:
        return
    yield "| parameter | in | |\n|---|---|---|"
    for one in parameters:
        needed = "**required** " if one.get("required") and one["in"] != "path" else ""
        yield f"| `{one['name']}` | {one['in']} | {needed}{_cell(one.get('description', ''))} |"
    yield ""


def _body(document: Document, operation: Document) -> Iterator[str]:
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        rows = list(field_rows(document, content.get("schema", {})))
        if rows:
            yield "| body | type | |\n|---|---|---|"
            yield from (f"| `{row.name}` | {row.type} | {_cell(row.text())} |" for row in rows)
            yield ""
        elif media_type != "application/json":
            yield f"The body is `{media_type}`.\n"


def _answers(document: Document, operation: Document) -> Iterator[str]:
    answers = sorted(operation["responses"].items())
    yield "| answer | |\n|---|---|"
    for status, answer in answers:
        if status not in EVERYWHERE:
            yield f"| {status} | {_cell(answer['description'])} |"
    yield ""
    for status, answer in answers:
        content = answer.get("content", {}).get("application/json")
        rows = list(field_rows(document, content["schema"])) if content else []
        if rows:
            yield f'??? note "{status}: the answer"\n'
            yield "    | field | type | |\n    |---|---|---|"
            yield from (
                f"    | `{row.name}` | {row.type} | {_cell(row.text(required=False))} |"
                for row in rows
            )
            yield ""
            break


def _cell(text: str) -> str:
    """As it may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<key>", "&lt;key&gt;")
