"""What an import did, or would do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Result:
    """Rows of the file, and what became of them. ``units_in`` and ``units_out`` are of stock."""

    rows: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    skipped: int = 0
    units_in: int = 0
    units_out: int = 0
    campaigns: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As it is kept and shown."""
        return asdict(self)
