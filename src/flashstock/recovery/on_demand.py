"""Rebuilding on demand: what a rebuild would restore, and doing it."""

from __future__ import annotations

from typing import Any

from flashstock.hotpath.store import HotStore
from flashstock.ledger.proof import Proof
from flashstock.recovery.gate import Gate


class OnDemandRebuild:
    """For ops. Other processes notice the new generation by themselves and go on under it."""

    def __init__(self, store: HotStore, gate: Gate, proof: Proof) -> None:
        self._store = store
        self._gate = gate
        self._proof = proof

    async def run(self, *, dry_run: bool) -> dict[str, Any]:
        """Rebuild every shard from SQL; a dry run only says what that would restore.

        Raises:
            Unavailable: SQL is away. An absent Redis is waited for.
        """
        shards = []
        for shard in range(self._store.shard_count):
            extent = await self._proof.extent(shard)
            document: dict[str, Any] = {
                "shard": shard,
                "pools": extent.pools,
                "held_reservations": extent.held_reservations,
                "ledger_seq": extent.seq,
                "store_generation": self._store.generation(shard),
            }
            if not dry_run:
                self._gate.rebuild(shard)
                await self._gate.opened(shard)
                document["store_generation"] = self._store.generation(shard)
            shards.append(document)
        return {"dry_run": dry_run, "shards": shards}
