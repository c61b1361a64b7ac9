"""How a command ends, and what a person reads when it ends badly."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from flashstock.errors import FlashstockError

FAILED: Final = 1
REFUSED: Final = 2


@dataclass
class Invocation:
    """What holds for the whole run, whichever command it is."""

    debug: bool = False


def exit_status(problem: Exception) -> int:
    """Say what went wrong and return the status to end with."""
    if isinstance(problem, FlashstockError):
        report(problem.code, problem.detail)
        return REFUSED
    name = type(problem).__name__
    report(
        FlashstockError.code,
        f"{name}: {problem} ('flashstock --debug …' shows where)",
    )
    return FAILED


def report(code: str, detail: str) -> None:
    """``error: code: detail`` on stderr, red at a terminal."""
    from rich.console import Console
    from rich.text import Text

    first, *rest = detail.splitlines() or [""]
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text.assemble((f"error: {code}: {first}", "bold red")))
    for line in rest:
        console.print(Text(f"  {line}"))
    sys.stderr.flush()
