"""Script replies as typed values. One function a script; the layouts are in the Lua headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flashstock.hotpath.scripts import Verdict
from flashstock.model.events import decode_rules
from flashstock.model.ids import FIELD_SEPARATOR
from flashstock.model.records import ReservationRecord, unpack_record
from flashstock.model.rules import PoolCounters, PoolRules

Reply = list[Any]


@dataclass(frozen=True, slots=True)
class BatchReply:
    """What reserve decided of a batch, as of one instant.

    ``verdicts`` holds one ASCII digit an item; ``replays`` one packed record for each REPLAYED
    item, in order. ``generation`` is the data set that decided.
    """

    generation: str
    now_ms: int
    available: int
    grants: int
    seq: int
    first_seq: int
    deadline_ms: int
    fast: bool
    next_wave_ms: int
    starts_at_ms: int
    per_buyer_limit: int
    verdicts: bytes
    replays: Sequence[bytes]
    audience: str = ""
    """Of the pool, where it refused an item of the batch. So are ``channels``."""
    channels: str = ""
    ordered: bool = False
    """HELD items take no units before they are paid."""


def batch_reply(generation: str, reply: Reply) -> BatchReply:
    """Read the answer of reserve with status OK."""
    audience, _, channels = reply[12].decode().partition(FIELD_SEPARATOR)
    return BatchReply(
        generation,
        reply[1],
        reply[2],
        reply[3],
        reply[4],
        reply[5],
        reply[6],
        reply[7] == 1,
        reply[8],
        reply[9],
        reply[10],
        reply[13],
        reply[14:],
        audience,
        channels,
        reply[11] == 1,
    )


@dataclass(frozen=True, slots=True)
class ReservationReply:
    """What a verb on one reservation decided. ``record`` is ``None`` for an unknown one."""

    generation: str
    status: int
    now_ms: int
    seq: int
    record: ReservationRecord | None


def reservation_reply(generation: str, reply: Reply) -> ReservationReply:
    """Read the answer of confirm, cancel, extend or return_sale."""
    record = unpack_record(reply[3].decode()) if len(reply) > 3 else None
    return ReservationReply(generation, reply[0], reply[1], reply[2], record)


@dataclass(frozen=True, slots=True)
class CartLine:
    """What reserve_cart says of one line. ``available`` is what the pool has left.

    ``audience`` and ``channels`` are the pool's, where they refused it.
    """

    verdict: Verdict
    available: int
    record: ReservationRecord | None
    audience: str = ""
    channels: str = ""


@dataclass(frozen=True, slots=True)
class CartReply:
    generation: str
    held: bool
    now_ms: int
    seq: int
    lines: tuple[CartLine, ...]


def cart_reply(generation: str, reply: Reply) -> CartReply:
    """Read the answer of reserve_cart."""
    verdicts: bytes = reply[4]
    count = len(verdicts)
    lines = tuple(
        _cart_line(Verdict(verdicts[index] - 48), reply[5 + index], reply[5 + count + index])
        for index in range(count)
    )
    return CartReply(generation, reply[0] == 0, reply[1], reply[2], lines)


def _cart_line(verdict: Verdict, available: int, packed: bytes) -> CartLine:
    if verdict is Verdict.NOT_ELIGIBLE:
        return CartLine(verdict, available, None, *packed.decode().split(FIELD_SEPARATOR))
    return CartLine(verdict, available, unpack_record(packed.decode()) if packed else None)


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool as Redis has it, and the log position it stands at."""

    generation: str
    pool: str
    now_ms: int
    seq: int
    rules: PoolRules
    counters: PoolCounters


def pool_snapshot(generation: str, pool_id: str, reply: Reply) -> PoolSnapshot:
    """Read the fields that snapshot and configure answer."""
    flat = [item.decode() for item in reply[3:]]
    fields = dict(zip(flat[0::2], flat[1::2], strict=True))
    counters = PoolCounters(
        total=int(fields["total"]),
        available=int(fields["available"]),
        held=int(fields["held"]),
        sold=int(fields["sold"]),
        locked=int(fields["locked"]),
    )
    return PoolSnapshot(generation, pool_id, reply[1], reply[2], decode_rules(fields), counters)


@dataclass(frozen=True, slots=True)
class LookupReply:
    """Records by position; ``None`` where the hot path knows nothing."""

    generation: str
    now_ms: int
    seq: int
    records: tuple[ReservationRecord | None, ...]


def lookup_reply(generation: str, reply: Reply) -> LookupReply:
    """Read the answer of lookup."""
    records = tuple(unpack_record(packed.decode()) if packed else None for packed in reply[3:])
    return LookupReply(generation, reply[1], reply[2], records)
