"""Reservations: an index of long holds that ended early, which a rebuild must find."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ENDED_EARLY = "state <> 'held' AND deadline_ms > updated_at_ms + 3600000"


def upgrade() -> None:
    where = sa.text(ENDED_EARLY)
    columns = ["shard", "deadline_ms", "id"]
    op.create_index(
        "ix_reservations_ended_early",
        "reservations",
        columns,
        postgresql_where=where,
        sqlite_where=where,
    )
