"""What an examination says: what was looked at, how it is, what that means, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """From well to ill."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong; somebody may want to know."""
    WARNING = "warning"
    """It works, and under load or in a fault it will not do so well."""
    PROBLEM = "problem"
    """A promise can't be kept, or the service can't run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``means`` and ``advice`` are empty where all is well."""

    check: str
    level: Level
    found: str
    means: str = ""
    advice: str = ""

    def document(self) -> dict[str, Any]:
        """As ``--json`` has it."""
        return asdict(self)


def worst(findings: Iterable[Finding]) -> Level:
    """The level of the worst; ``OK`` of none."""
    levels = list(Level)
    return max((finding.level for finding in findings), key=levels.index, default=Level.OK)
