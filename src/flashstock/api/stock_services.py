"""What the API is given to work with beside the hot path; ``bootstrap_stock`` fills it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StockServices:
    """One process's services of the stock book. Nothing is opened before it is used."""

    engine: Any
    clock: Callable[[], int]
