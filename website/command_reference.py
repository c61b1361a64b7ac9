"""The commands, as their own help texts describe them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final, get_args

import typer

from flashstock.cli.commands import app

_INTRODUCTION: Final = Path(__file__).parent / "introductions" / "command.md"


def command_reference() -> str:
    """The page."""
    sections = [_INTRODUCTION.read_text("utf-8")]
    for name, command in commands(typer.main.get_command(app)):
        sections += [f"## flashstock {name}\n", _described(command), *_flags(command)]
    return "\n".join(sections) + "\n"


def commands(found: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that a person may call, by its words, in the order of the help."""
    below = getattr(found, "commands", None)
    if below is None and not found.hidden:
        yield name, found
    for word, command in (below or {}).items():
        yield from commands(command, f"{name} {word}".strip())


def _described(command: Any) -> str:
    """The help text; indented examples are Markdown's code already."""
    paragraphs = cleandoc(command.help or "").split("\n\n")
    shown = []
    for paragraph in paragraphs:
        bare = paragraph.strip()
        is_example = bare.startswith(("flashstock ", "FLASHSTOCK_"))
        shown.append(f"    {bare}" if is_example else bare)
    return "\n\n".join(shown) + "\n"


def _flags(command: Any) -> Iterator[str]:
    shown = [one for one in command.params if not one.hidden]
    if not shown:
        return
    yield "| | |\n|---|---|"
    for one in shown:
        names = " ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
        if not one.opts[0].startswith("-"):
            names = f"`{one.opts[0].upper()}`"
        said = " ".join(part for part in (one.help or "", _choices(one), _default(one)) if part)
        cell = said.replace("|", "\\|")
        yield f"| {names} | {cell} |"
    yield ""


def _choices(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation
    is_enum = isinstance(kind, type) and issubclass(kind, Enum)
    values = [one.value for one in kind] if is_enum else get_args(kind)
    return f"One of {', '.join(f'`{value}`' for value in values)}." if values else ""


def _default(parameter: Any) -> str:
    default = parameter.default
    if default is None or isinstance(default, bool) or callable(default):
        return ""
    return f"[default: {default.value if isinstance(default, Enum) else default}]"
