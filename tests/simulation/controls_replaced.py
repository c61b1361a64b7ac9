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
from tests.simulation.controls import CONTROLS, Credulous, control, parts, script_text
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
def number_taken_for_the_decision() -> Any:
    """No caller says which position it knows of, and none looks at the one that it is told."""
    return parts(store=Silent, applied=Credulous)
