"""Every Redis key, built here and nowhere else. All keys of a shard share its hash tag.

The names are those in the headers of ``lua/*.lua``; the script loader matches them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flashstock.model.ids import limit_scope


def shard_tag(shard: int) -> str:
    """The hash tag of a shard: ``{fs:07}``."""
    return f"{{fs:{shard:02d}}}"


def shard_meta(shard: int) -> str:
    """Hash: generation, seq, clock_ms, orders."""
    return f"{shard_tag(shard)}:meta"


def shard_log(shard: int) -> str:
    """Stream: one entry a decision."""
    return f"{shard_tag(shard)}:log"


def never_written(shard: int) -> str:
    """No value at all: watched by those who need one connection, not one key."""
    return f"{shard_tag(shard)}:never-written"


def reservations(shard: int) -> str:
    """Hash: digest → packed record, of all pools of the shard.

    One hash for the shard, so that a key reused for another pool is seen and refused.
    """
    return f"{shard_tag(shard)}:reservations"


def due(shard: int) -> str:
    """Sorted set: pool → when something next happens in it by time alone (ms)."""
    return f"{shard_tag(shard)}:due"


def pool(shard: int, pool_id: str) -> str:
    """Hash: counters and rules."""
    return f"{shard_tag(shard)}:pool:{pool_id}"


def deadlines(shard: int, pool_id: str) -> str:
    """Sorted set: the digests of one batch of holds → their deadline (ms)."""
    return f"{shard_tag(shard)}:deadlines:{pool_id}"


def retired(shard: int, pool_id: str) -> str:
    """Sorted set: the digests of a batch whose deadline is over → when to forget them (ms)."""
    return f"{shard_tag(shard)}:retired:{pool_id}"


def buyers(shard: int, pool_id: str) -> str:
    """Hash: buyer → units held and confirmed, of the pool or of all pools of its group."""
    return f"{shard_tag(shard)}:buyers:{limit_scope(pool_id)}"


def groups(shard: int) -> str:
    """Hash: digest → packed group (``model/group_records.py``), of all pools of the shard."""
    return f"{shard_tag(shard)}:groups"


def group_members(shard: int, pool_id: str) -> str:
    """Sorted set, all scores 0: the seats of each group, those paid first, in their order."""
    return f"{shard_tag(shard)}:group-members:{pool_id}"


def group_seats(shard: int, pool_id: str) -> str:
    """Hash: group, tab, buyer → the buyer's seats in it; tab, buyer → the groups they are in."""
    return f"{shard_tag(shard)}:group-seats:{pool_id}"


def open_groups(shard: int, pool_id: str) -> str:
    """Sorted set: open groups with a free seat, the nearest to full and then to its end first."""
    return f"{shard_tag(shard)}:open-groups:{pool_id}"


def group_deadlines(shard: int, pool_id: str) -> str:
    """Sorted set: group → its deadline until it is settled, then when to forget it (ms)."""
    return f"{shard_tag(shard)}:group-deadlines:{pool_id}"


def command(shard: int, digest: str) -> str:
    """String: what an idempotent command did. Expires by itself."""
    return f"{shard_tag(shard)}:command:{digest}"


def payment(shard: int, digest: str) -> str:
    """String: the reservation a payment reference belongs to. Expires by itself."""
    return f"{shard_tag(shard)}:payment:{digest}"


def applied_channel(shard: int) -> str:
    """Pub/sub channel on which the writer announces what is committed.

    Whoever speaks another language (an older version, for as long as a rolling deploy takes)
    speaks on another channel, and the hearer asks SQL.
    """
    return f"{shard_tag(shard)}:committed"


SHARD_KEYS: Final[dict[str, Callable[[int], str]]] = {
    "shard_meta": shard_meta,
    "shard_log": shard_log,
    "reservations": reservations,
    "due": due,
    "groups": groups,
}
"""Key names in script headers that need a shard only."""

POOL_KEYS: Final[dict[str, Callable[[int, str], str]]] = {
    "pool": pool,
    "deadlines": deadlines,
    "retired": retired,
    "buyers": buyers,
    "group_members": group_members,
    "group_seats": group_seats,
    "open_groups": open_groups,
    "group_deadlines": group_deadlines,
}
"""Key names in script headers that need a pool."""

DIGEST_KEYS: Final[dict[str, Callable[[int, str], str]]] = {
    "command": command,
    "payment": payment,
}
"""Key names in script headers that need a digest."""
