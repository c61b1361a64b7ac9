"""What is read of the stock book."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flashstock.model.stock import MovementKind, Posting

REVERSAL: str = "reversal:"
"""The id of the movement that reverses number n is this and n: so there is at most one."""
MANUAL: str = "movement:"
"""How the ids of movements begin that a person posted, and may reverse."""


@dataclass(frozen=True, slots=True)
class StoredMovement:
    """A movement as it was posted; ``reversed_by`` is the number of its counter-movement."""

    number: int
    id: str
    kind: MovementKind
    reason: str
    reference: str
    actor: str
    at_ms: int
    lines: tuple[Posting, ...]
    reversed_by: int | None = None

    @property
    def reverses(self) -> int | None:
        """The number of the movement that this one takes back."""
        return int(self.id.removeprefix(REVERSAL)) if self.id.startswith(REVERSAL) else None

    @property
    def reversible(self) -> bool:
        """Whether a person posted it and nobody has taken it back."""
        return self.id.startswith(MANUAL) and self.reversed_by is None


@dataclass(frozen=True, slots=True)
class Balance:
    """Where the units of one SKU at one location are, by the names of the states."""

    sku: str
    location: str
    units: Mapping[str, int]
    virtual_allowance: int = 0
    changed_seq: int = 0


@dataclass(frozen=True, slots=True)
class PoolUnits:
    """Units of a SKU that a pool has been given, and what the pool says of them (in its units).

    ``total`` is ``None`` where SQL does not know the pool yet.
    """

    pool: str
    per_unit: int
    quantity: int
    shipped: int
    total: int | None = None
    held: int = 0
    sold: int = 0
    locked: int = 0


@dataclass(frozen=True, slots=True)
class StockOfSku:
    """Everything the book knows of one SKU."""

    sku: str
    safety_stock: int
    company: Mapping[str, int]
    locations: tuple[Balance, ...]
    pools: tuple[PoolUnits, ...] = field(default_factory=tuple)
