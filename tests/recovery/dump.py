"""What a shard of Redis holds, in a form in which a data set and its rebuilt copy are equal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import redis

from flashstock.hotpath import keys
from flashstock.model.ids import DIGEST_LENGTH
from flashstock.model.records import unpack_record
from flashstock.model.states import ReservationState


@dataclass
class ShardDump:
    """Everything in a shard that decides an answer; not how many batches carry it."""

    seq: int
    orders: int
    pools: dict[str, dict[str, str]] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    buyers: dict[str, dict[str, str]] = field(default_factory=dict)
    deadlines: dict[str, float] = field(default_factory=dict)
    """Held digest → when it ends."""
    forgotten_in_time: set[str] = field(default_factory=set)
    """Ended digests that some batch will bring up again to be forgotten."""
    waking: dict[str, bool] = field(default_factory=dict)
    """Pool → whether the sweeper comes by before its next moment."""
    commands: dict[str, str] = field(default_factory=dict)
    payments: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    group_lists: dict[str, Any] = field(default_factory=dict)
    """Members and seats of groups, those that can be joined, and when each comes up next."""


def dump(client: redis.Redis, shard: int) -> ShardDump:
    """Read one shard. Nothing may change it meanwhile."""
    tag = keys.shard_tag(shard)
    everything: dict[str, Any] = {
        key.removeprefix(f"{tag}:"): _value(client, key) for key in client.scan_iter(f"{tag}:*")
    }
    meta = everything["meta"]
    found = ShardDump(int(meta["seq"]), int(meta.get("orders", 0)))
    found.records = everything.get("reservations", {})
    found.groups = everything.get("groups", {})
    for name, value in everything.items():
        kind, _, subject = name.partition(":")
        if kind == "pool":
            found.pools[subject] = {k: v for k, v in value.items() if k != "grants"}
        elif kind == "buyers":
            found.buyers[subject] = value
        elif kind == "command":
            found.commands[subject] = value
        elif kind == "payment" and _claimed_here(value, found.records):
            found.payments[subject] = value
        elif kind in ("group-members", "group-seats", "open-groups", "group-deadlines"):
            found.group_lists[name] = value
    due = everything.get("due", {})
    for pool in found.pools:
        waiting = everything.get(f"deadlines:{pool}", {})
        retired = everything.get(f"retired:{pool}", {})
        _moments(found, waiting, retired)
        ends = everything.get(f"group-deadlines:{pool}", {})
        lists = (waiting, retired, ends)
        moments = [at_ms for each in lists for at_ms in each.values()]
        moments += _waves(found.pools[pool])
        found.waking[pool] = not moments or due.get(pool, float("inf")) <= min(moments)
    return found


def _claimed_here(reservation_id: str, records: dict[str, str]) -> bool:
    """A reference is also claimed in the shard it hashes to, where the reservation may not be.

    That claim only spans the time until the confirmation is in SQL, which is asked first.
    """
    return reservation_id.partition("~")[2] in records


def _waves(pool: dict[str, str]) -> list[float]:
    return [float(part.partition(":")[0]) for part in pool["waves"].split(",") if part]


def _moments(found: ShardDump, waiting: dict[str, float], retired: dict[str, float]) -> None:
    for batch, at_ms in (*waiting.items(), *retired.items()):
        for digest in _digests(batch):
            record = unpack_record(found.records[digest]) if digest in found.records else None
            if record is None:
                continue
            seat = record.state is ReservationState.ORDERED and record.cart.startswith("g:")
            if record.state is not ReservationState.HELD and not seat:
                found.forgotten_in_time.add(digest)
            elif batch in waiting and at_ms == record.deadline_ms:
                found.deadlines[digest] = at_ms


def _digests(batch: str) -> Iterable[str]:
    return (batch[i : i + DIGEST_LENGTH] for i in range(0, len(batch), DIGEST_LENGTH))


def _value(client: redis.Redis, key: str) -> Any:
    kind = client.type(key)
    if kind == "hash":
        return client.hgetall(key)
    if kind == "zset":
        scored: Any = client.zrange(key, 0, -1, withscores=True)
        return dict(scored)
    if kind == "string":
        assert client.pttl(key) > 0, f"{key} would stay for ever"
        return client.get(key)
    return None
