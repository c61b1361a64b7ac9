"""How far SQL has followed one shard's log."""

from __future__ import annotations

from typing import Any

from flashstock.hotpath.store import HotStore
from flashstock.ledger.proof import Proof


async def shard_document(store: HotStore, proof: Proof, shard: int) -> dict[str, Any]:
    """As it stands in the reconciliation documents."""
    cursor = await proof.cursor_seq(shard)
    seq = await store.seq(shard)
    return {
        "shard": shard,
        "generation": int(store.generation(shard) or 0),
        "seq": seq,
        "applied_seq": cursor,
        "lag_events": max(0, seq - cursor),
    }
