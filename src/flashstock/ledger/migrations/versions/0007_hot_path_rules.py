"""Rules of pools that scripts decide: audience, channels, deduct mode."""

from __future__ import annotations

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Nothing yet."""
