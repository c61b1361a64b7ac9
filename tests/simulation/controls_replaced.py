"""Negative controls: not to notice when another server takes a server's place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from flashstock.hotpath.connection import translated_failures
from flashstock.ledger.apply import Cursor
from flashstock.recovery.gate import Gate
from flashstock.recovery.rebuild import FencedWrites
from tests.simulation.controls import CONTROLS, control, parts
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
def recovery_goes_on_elsewhere() -> Any:
    """The script that a recovery writes with is loaded wherever it is missing."""

    @contextmanager
    def patched() -> Iterator[Parts]:
        flush = FencedWrites.flush

        async def loaded_and_flushed(writes: FencedWrites) -> None:
            await writes.load()
            await flush(writes)

        with mock.patch.object(FencedWrites, "flush", loaded_and_flushed):
            yield Parts()

    return patched()


@control
def one_lost_shard_hides_the_others() -> Any:
    """A process that lost its connection asks one shard after the other, up to the first loss."""

    class Hasty(Gate):
        async def verify(self) -> None:
            for shard in range(self._store.shard_count):
                if self._store.generation(shard) is not None:
                    await self._store.seq(shard)

    return parts(gate=Hasty)
