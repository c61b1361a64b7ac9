"""Identifiers that need no look-up.

A reservation id is ``<pool>~<digest>``. The pool names the shard (a stable hash over a fixed
number of shards), and the digest is derived from (caller, idempotency key), so the id of a
request is known before anything is asked of any store: the reservation record *is* the
idempotency record.
"""

from __future__ import annotations

import re
import zlib
from binascii import b2a_base64
from hashlib import blake2b
from typing import Final, NamedTuple

_NAME: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
POOL_ID_PATTERN: Final = f"^{_NAME}(:{_NAME})?$"
"""``<name>``, or ``<group>:<item>``: the pools of a group share a shard and its buyers' limits."""
DIGEST_LENGTH: Final = 16
"""Characters of a digest: 96 bits, base64url."""

RESERVATION_ID_PATTERN: Final = f"^{_NAME}(:{_NAME})?~[A-Za-z0-9_-]{{16}}$"
URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
"""Turns base64 into its URL-safe form; on the hot path, where ``base64``'s own layers show."""
_RESERVATION_ID: Final = re.compile(RESERVATION_ID_PATTERN)

GROUP_MARK: Final = ":"
FIELD_SEPARATOR: Final = "\t"
"""Separates fields in records and log payloads; control characters are refused at the door."""


class ReservationId(NamedTuple):
    """The two halves of a reservation id."""

    pool: str
    digest: str

    def __str__(self) -> str:
        return f"{self.pool}~{self.digest}"


def digest_of(*parts: str) -> str:
    """96 bits of BLAKE2b over the parts, as 16 base64url characters.

    Parts are joined by a control character that no part may hold, so no two lists collide.
    """
    joined = "\x1f".join(parts).encode()
    digest = blake2b(joined, digest_size=12).digest()
    return b2a_base64(digest, newline=False).translate(URL_SAFE).decode()


def parse_reservation_id(text: str) -> ReservationId | None:
    """Split an id, or ``None`` where the text can't be one (so nothing needs to be asked)."""
    if _RESERVATION_ID.match(text) is None or text.endswith("\n"):
        return None
    pool, _, digest = text.partition("~")
    return ReservationId(pool, digest)


def shard_of(name: str, shard_count: int) -> int:
    """The shard that a name (a payment reference, say) lives in; stable across processes."""
    return zlib.crc32(name.encode()) % shard_count


def shard_of_pool(pool_id: str, shard_count: int) -> int:
    """The shard that a pool lives in: its group's, where it is of one."""
    return shard_of(pool_id.partition(GROUP_MARK)[0], shard_count)


def limit_scope(pool_id: str) -> str:
    """Over what a buyer's units are counted: ``<group>:``, or the pool alone.

    It is never the id of a pool where it is a group's: the pool ``<group>`` counts for itself.
    """
    group, mark, _ = pool_id.partition(GROUP_MARK)
    return group + mark
