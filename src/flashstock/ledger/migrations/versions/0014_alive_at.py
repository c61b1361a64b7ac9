"""When each shard is last known to have worked: how long an outage was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    column = sa.Column("alive_at_ms", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    op.add_column("cursors", column)
