"""Quarantine: which reservation's key was used again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    identifier = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("quarantine", sa.Column("reused_reservation_id", identifier))
