"""Rules of pools that scripts decide: audience, channels, deduct mode. Those there are get none."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for name, kind, default in (
        ("audience", sa.Text(), "''"),
        ("channels", sa.Text(), "''"),
        ("deduct", sa.String(16), "'hold'"),
    ):
        column = sa.Column(name, kind, nullable=False, server_default=sa.text(default))
        op.add_column("pools", column)
