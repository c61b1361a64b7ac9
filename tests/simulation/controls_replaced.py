"""Negative controls: not to notice when another server takes a server's place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.log import NO_DATA_SET
from flashstock.hotpath.store import HotStore
from flashstock.ledger.apply import Cursor
from flashstock.recovery.gate import Gate
from tests.simulation.controls import CONTROLS, control, parts, script_text
from tests.simulation.processes import Parts

__all__ = ["CONTROLS"]


@control
def one_shard_opens_the_others() -> Any:
    """Whoever opens a shard loads the scripts that the others are called by, as if all shards had
    the same: a shard that was not looked at yet goes on in a server that is not the one it knew.
    """

    class Generous(Gate):
        async def _let_in(self, shard: int, cursor: Cursor, *, marked: bool) -> bool:
            let_in = await super()._let_in(shard, cursor, marked=marked)
            with translated_failures():
                for scripts in self._store._scripts:
                    for text in scripts.texts.values() if let_in and scripts else ():
                        await self._store.clients[shard].script_load(text)
            return let_in

    return parts(gate=Generous)


@control
def recovery_goes_on_anywhere() -> Any:
    """A recoverer writes to whatever it finds under its token, with or without its last writes, and
    the gate, which would look at the position once more, looks away.
    """

    class Blind(Gate):
        async def _let_in(self, shard: int, cursor: Cursor, *, marked: bool) -> bool:
            anywhere = replace(cursor, seq=NO_DATA_SET)
            return await super()._let_in(shard, anywhere, marked=marked)

    @contextmanager
    def patched() -> Iterator[Parts]:
        with script_text("restore", "if seq ~= floor then", "if false then") as chosen:
            chosen.gate = Blind
            yield chosen

    return patched()


class Silent(HotStore):
    """It says of no position that it knows of it."""

    async def _call(self, *arguments: Any) -> Any:
        self.committed = lambda _: 0
        self._seen = [0] * self.shard_count
        return await super()._call(*arguments)


@control
def caller_tells_no_floor() -> Any:
    """No caller says which position it knows of."""
    return parts(store=Silent)


@control
def one_lost_shard_hides_the_others() -> Any:
    """A process that lost its connection asks one shard after the other, up to the first loss.

    What it then does not notice, the position that callers tell lets it notice at the next call: so
    they tell none here.
    """

    class Hasty(Gate):
        async def verify(self) -> None:
            for shard in range(self._store.shard_count):
                if self._store.generation(shard) is not None:
                    await self._store.seq(shard)

    return parts(gate=Hasty, store=Silent)
