from __future__ import annotations

from tests.databases import clock, engine, migrated_postgres_url, migrated_sqlite_file
from tests.stock_api import caller

__all__ = ["caller", "clock", "engine", "migrated_postgres_url", "migrated_sqlite_file"]
