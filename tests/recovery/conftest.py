"""What tests of recoveries share."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from flashstock.ledger.cursor import Cursors
from flashstock.ledger.engine import writing
from flashstock.ledger.tables import cursors


@pytest.fixture
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever begins the next recovery finds that the lease of the one before has run out."""
    bump_generation = Cursors.bump_generation

    async def bump_at_once(self: Cursors, shard: int, generation: int, *arguments: Any) -> Any:
        theirs = (cursors.c.shard == shard) & (cursors.c.generation == generation)
        async with writing(self._engine) as connection:
            await connection.execute(update(cursors).where(theirs).values(recovery_until_ms=0))
        return await bump_generation(self, shard, generation, *arguments)

    monkeypatch.setattr(Cursors, "bump_generation", bump_at_once)
