"""PostgreSQL alone: the same reservation as one SQL statement, driven by pgbench."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from bench.stores import Postgres
from bench.systems import POOL_UNITS, InvariantBroken

SCRIPT: Final = Path(__file__).parent / "pgbench.sql"
SCHEMA: Final = f"""
CREATE TABLE pools (
  id int PRIMARY KEY, available bigint NOT NULL CHECK (available >= 0), held bigint NOT NULL
);
CREATE TABLE reservations (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pool int NOT NULL, buyer bigint NOT NULL,
  quantity int NOT NULL, state text NOT NULL, deadline timestamptz NOT NULL
);
INSERT INTO pools VALUES (1, {POOL_UNITS}, 0);
"""
PGBENCH_SECONDS_MIN: Final = 1.0
_TPS: Final = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


def measure(postgres: Postgres, clients: int, warm_up_seconds: float, seconds: float) -> float:
    """Transactions a second of so many clients on one hot row.

    Raises:
        InvariantBroken: the rows written are not the units taken.
        RuntimeError: pgbench failed.
    """
    with postgres.fresh_database("postgres_alone") as database:
        postgres.execute(SCHEMA, database)
        if warm_up_seconds >= PGBENCH_SECONDS_MIN:
            _pgbench(postgres, database, clients, warm_up_seconds)
        output = _pgbench(postgres, database, clients, seconds)
        [(held, available, rows)] = postgres.fetch(
            "SELECT held, available, (SELECT count(*) FROM reservations) FROM pools", database
        )
    if held != rows or held + available != POOL_UNITS:
        raise InvariantBroken(f"PostgreSQL alone: {held} held, {available} left, {rows} rows")
    found = _TPS.search(output)
    if found is None:
        raise RuntimeError(f"pgbench did not get to one transaction:\n{output}")
    return float(found[1])


def _pgbench(postgres: Postgres, database: str, clients: int, seconds: float) -> str:
    arguments = [
        *(str(postgres.binaries / "pgbench"), "-h", postgres.socket_directory, "-U", "postgres"),
        *("-n", "-M", "prepared", "-c", str(clients), "-j", "1"),
        *("-T", str(max(1, round(seconds))), "-f", str(SCRIPT), database),
    ]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"pgbench failed:\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout
