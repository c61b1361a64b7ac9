"""The guide as something to run: its commands, and what it says they print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANYTHING = "…"


@dataclass(frozen=True)
class Step:
    """A block of commands and the lines that the page shows behind it.

    A line of the page stands for a line of the output; ``…`` in it for anything.
    """

    line: int
    commands: str
    shown: tuple[str, ...]

    def missing(self, output: str) -> str | None:
        """The first line shown that the output lacks, in this order; ``None``: all are there."""
        lines = iter(output.splitlines())
        for wanted in self.shown:
            pattern = re.compile(
                ".*".join(re.escape(part) for part in wanted.strip().split(_ANYTHING))
            )
            if not any(pattern.fullmatch(line.strip()) for line in lines):
                return wanted
        return None


def steps(page: Path) -> Iterator[Step]:
    """The page's blocks of ``sh`` in order, each with the block of ``text`` right behind it."""
    text = page.read_text(encoding="utf-8")
    blocks = [
        (text.count("\n", 0, found.start()) + 1, found[1], found[2], found.start(), found.end())
        for found in _FENCE.finditer(text)
    ]
    for number, (line, language, body, _, end) in enumerate(blocks):
        if language != "sh":
            continue
        shown: tuple[str, ...] = ()
        if number + 1 < len(blocks):
            _, following, printed, start, _ = blocks[number + 1]
            if following == "text" and not text[end:start].strip():
                shown = tuple(row for row in printed.splitlines() if row.strip())
        yield Step(line, body, shown)
