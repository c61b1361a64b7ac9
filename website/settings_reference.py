"""The settings, as `config.py` declares and explains them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from flashstock import config
from flashstock.config import Settings, key_of

INTERNAL: Final = frozenset({"stores_embedded"})
"""Set by `serve` for its own children."""
SHOWN: Final = {"data_dir": "`~/.flashstock`"}
"""Defaults that are not the same on every machine."""
_INTRODUCTION: Final = Path(__file__).parent / "introductions" / "settings.md"


def settings_reference() -> str:
    """The page."""
    explained = dict(explanations())
    rows = []
    for name, field in Settings.model_fields.items():
        if name not in INTERNAL:
            default = "" if field.default in (None, "") else f"`{field.default}`"
            shown = SHOWN.get(name, default)
            rows.append(f"| `{key_of(name)}` | {shown} | {explained[name].replace('``', '`')} |")
    return _INTRODUCTION.read_text("utf-8") + "\n".join(rows) + "\n"


def explanations() -> Iterator[tuple[str, str]]:
    """(setting, what stands below it)."""
    module = ast.parse(inspect.getsource(config))
    (settings,) = (
        node
        for node in module.body
        if isinstance(node, ast.ClassDef) and node.name == Settings.__name__
    )
    for declared, below in zip(settings.body, settings.body[1:], strict=False):
        if (
            isinstance(declared, ast.AnnAssign)
            and isinstance(declared.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            yield declared.target.id, " ".join(str(below.value.value).split())
