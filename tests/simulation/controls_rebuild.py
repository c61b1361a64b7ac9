"""Negative controls: a rebuild that leaves something out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from flashstock.recovery.rebuild import FencedWrites
from tests.simulation.controls import CONTROLS, control, parts
from tests.simulation.processes import Parts
from tests.simulation.sql_reads import SimulatedQueries

__all__ = ["CONTROLS"]


@control
def rebuild_forgets_payments() -> Any:
    return without_writes("SET", ":payment:")


@control
def rebuild_forgets_buyers() -> Any:
    return without_writes("HSET", ":buyers:")


@control
def rebuild_forgets_commands() -> Any:
    return without_writes("SET", ":command:")


@control
def rebuild_forgets_deadlines() -> Any:
    return without_writes("ZADD", ":deadlines:")


@contextmanager
def without_writes(command: str, part_of_key: str) -> Iterator[Parts]:
    """A bug for as long as the world is: rebuilds that overlap, or are cut off, would undo it in
    any order, or never."""
    original = FencedWrites.put

    def put(writes: FencedWrites, name: str, key: Any, *values: Any) -> None:
        if name == "UNLINK" or name != command or part_of_key not in str(key):
            original(writes, name, key, *values)

    with mock.patch.object(FencedWrites, "put", put):
        yield Parts()


@control
def rebuild_forgets_ended_reservations() -> Any:
    """Only holds are restored: a key that was used is free again."""

    class HoldsOnly(SimulatedQueries):
        async def retained_reservations(self, *arguments: Any) -> Any:
            rows = await super().retained_reservations(*arguments)
            kept = [row for row in rows if row.state == "held"]
            return kept or ([] if not rows else rows[-1:])

    return parts(queries=HoldsOnly)
