"""Refunds: who settled one, and under which reference."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("refunds", sa.Column("settled_by", sa.Text))
    op.add_column("refunds", sa.Column("settled_reference", sa.Text))
