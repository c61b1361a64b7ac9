"""The stock book: SKUs, locations, balances, movements, and what joins them to pools."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Nothing yet."""
