"""Of a batch that is committed: who is told so, and whose hold SQL refused."""

from __future__ import annotations

from typing import Protocol, TypeVar

from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.replies import BatchReply


class Refusable(Protocol):
    """Who asked."""

    @property
    def digest(self) -> str: ...

    def failed(self, failure: Exception) -> None: ...


Asker = TypeVar("Asker", bound=Refusable)


async def without_refused(
    applied: AppliedTracker,
    shard: int,
    pool: str,
    granted: list[tuple[Asker, int, bytes | None]],
    reply: BatchReply,
) -> list[tuple[Asker, int, bytes | None]]:
    """Those whose hold is in SQL; the others are told here that theirs does not count.

    Args:
        granted: who asked, the verdict (held or replayed), and the packed record of a replay.
    """
    recorded = []
    seqs = (reply.first_seq, reply.seq)
    for one in granted:
        asking, _, replay = one
        try:
            await applied.check_hold(shard, f"{pool}~{asking.digest}", seqs, replay)
        except Exception as failure:  # noqa: BLE001 (handed on: nobody waits for ever)
            asking.failed(failure)
        else:
            recorded.append(one)
    return recorded
