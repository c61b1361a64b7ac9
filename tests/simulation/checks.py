"""The invariants of the design. Some are looked at after every script and every commit, the rest
when the storm is over and everything has come to rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from flashstock.model import events
from flashstock.model.fold import Changes, FoldViolation, fold
from flashstock.model.group_records import SEAT_MARK
from flashstock.model.ids import digest_of, limit_scope
from flashstock.model.rules import NO_DEADLINE_MS, PoolCounters
from flashstock.model.states import ReservationState
from tests.simulation.group_checks import (
    check_ends,
    check_folded_groups,
    check_groups,
    check_seats_counted,
)
from tests.simulation.outage_checks import Outage, check_outages
from tests.simulation.redis_data import DataSet
from tests.simulation.sql_reads import pool_sums, units_by_buyer
from tests.simulation.sql_tables import Tables

Violated = Callable[[str], None]
_COUNTERS = (b"total", b"available", b"held", b"sold", b"locked")


def check_script(data: DataSet, keys: Sequence[bytes], violated: Violated) -> None:
    """Invariants 1 and 9, in Redis, for the pools that a script named."""
    check_groups(data, keys, violated)
    for key in keys:
        if b":pool:" not in key:
            continue
        pool = data.values.get(key)
        if not pool:
            continue
        total, *parts = (int(pool.get(name, 0)) for name in _COUNTERS)
        if min(parts) < 0 or sum(parts) != total:
            violated(f"{key!r} does not balance in Redis: {pool}")
        if pool.get(b"deduct") == b"payment" and pool[b"held"] != b"0":
            violated(f"{key!r} holds units before they are paid: {pool}")
        limit = int(pool.get(b"per_buyer_limit", 0))
        tag, _, name = key.partition(b":pool:")
        buyers = data.values.get(_buyers_key(tag, name.decode()), {})
        for buyer, units in buyers.items():
            if int(units) <= 0 or (limit and int(units) > limit):
                violated(f"{buyer!r} counts for {units!r} units in {key!r}, the limit is {limit}")


def _buyers_key(tag: bytes, pool: str) -> bytes:
    return tag + b":buyers:" + limit_scope(pool).encode()


def check_position(
    data: DataSet, keys: Sequence[bytes], tables: Tables, violated: Violated
) -> None:
    """What is open under the present generation stands where SQL stands, or goes on from there.

    Else numbers are given out twice, and whoever waits for one of them is acknowledged at once.
    Only a server that became a copy and kept its scripts is noticed no sooner than by its answer.
    """
    meta = data.values.get(keys[0], {})
    shard = int(keys[0][len(b"{fs:") :].partition(b"}")[0])
    row = tables.cursors.get(shard)
    if row is None or meta.get(b"generation") != b"%d" % row.generation:
        return
    if data.unfenced.get(keys[0]) == meta[b"generation"]:
        return
    seq = int(meta[b"seq"])
    if seq < row.seq:
        violated(f"shard {shard} is open at seq {seq}, SQL is at {row.seq}")
    elif seq == row.seq and (log := data.values.get(b"{fs:%02d}:log" % shard)):
        newest = dict(zip(log[-1].fields[0::2], log[-1].fields[1::2], strict=True))
        known = tables.journal[shard][-1]
        if (known.kind.encode(), known.payload.encode()) != (newest[b"kind"], newest[b"payload"]):
            violated(f"shard {shard}: seq {seq} is {known.payload!r} in SQL and given out again")


def check_commit(before: Tables, after: Tables, violated: Violated) -> None:
    """Invariants 2, 5, 8 and 9 for what one transaction did."""
    if len(after.quarantine) > len(before.quarantine):
        bad = after.quarantine[-1]
        violated(f"seq {bad.seq} ({bad.kind}) went to quarantine: {bad.error}")
    for shard, rows in after.journal.items():
        known = len(before.journal.get(shard, ()))
        seq, generation = 0, 0
        if known:
            last = rows[known - 1]
            seq, generation = last.seq + last.event_count - 1, last.generation
        for row in rows[known:]:
            if row.seq != seq + 1:
                violated(f"shard {shard}: seq {row.seq} follows {seq} in the journal")
            if not generation <= row.generation <= after.cursors[shard].generation:
                violated(f"shard {shard}: generation {row.generation} follows {generation}")
            if row.generation < (opened := before.cursors[shard].opened_generation):
                violated(
                    f"shard {shard}: seq {row.seq} is of {row.generation}, {opened} was opened"
                )
            seq, generation = row.seq + row.event_count - 1, row.generation
        if after.cursors[shard].seq != seq:
            violated(f"shard {shard}: the cursor is at {after.cursors[shard].seq}, not {seq}")
    _check_limits(before, after, violated)


def _check_limits(before: Tables, after: Tables, violated: Violated) -> None:
    changed = {
        (row.pool, row.buyer)
        for row in after.reservations.values()
        if before.reservations.get(row.id) is not row
    }
    for pool, buyer in sorted(changed):
        limit = after.pools[pool].rules.per_buyer_limit
        if limit and (units := units_by_buyer(after, pool)[buyer]) > limit:
            violated(f"{buyer} has {units} units of {pool} in SQL, the limit is {limit}")


def check_journal(
    tables: Tables, outages: Mapping[int, Sequence[Outage]], violated: Violated
) -> None:
    """Invariants 3, 5 and 7: SQL is the fold of its journal, an end is an end, a payment is one."""
    for shard, rows in tables.journal.items():
        read = []
        for row in rows:
            entry = events.LogEntry(
                shard, row.generation, row.seq, row.event_count, row.kind, row.payload
            )
            read.append((entry, events.decode(entry)))
        try:
            changes = fold(read)
        except FoldViolation as contradiction:
            violated(f"the journal contradicts itself: {contradiction}")
            return
        _check_rows(tables, shard, changes, violated)
        check_folded_groups(tables, shard, changes, violated)
        check_ends(read, tables, violated)
        _check_expiries(read, violated)
        check_outages(read, outages.get(shard, ()), violated)
    taken = sorted(
        payment
        for payment in tables.orders.keys() & tables.refunds.keys()
        if (order := tables.orders[payment]).reservation_id
        != tables.refunds[payment].reservation_id
        or tables.reservations[order.reservation_id].state is not ReservationState.REFUNDED
    )
    if taken:
        violated(f"payments that both bought and are due back: {taken}")
    sold = [row.reservation_id for row in tables.orders.values()]
    if len(sold) != len(set(sold)):
        violated("a reservation has two orders")


def _check_rows(tables: Tables, shard: int, changes: Changes, violated: Violated) -> None:
    rows = {row.id: row for row in tables.reservations.values() if row.shard == shard}
    if rows.keys() != changes.inserted.keys() or changes.changed:
        violated(
            f"SQL's reservations are not the journal's: {rows.keys() ^ changes.inserted.keys()}"
        )
        return
    if any(one.holds for one in changes.postponed):
        violated(f"other holds are put off than the journal has: {changes.postponed}")
    for reservation_id, folded in changes.inserted.items():
        row = rows[reservation_id]
        found = (
            row.state,
            row.quantity,
            row.buyer,
            row.payment_ref,
            row.returned,
            row.deadline_ms,
        )
        wanted = (
            folded.state,
            folded.quantity,
            folded.buyer,
            folded.payment_ref,
            folded.returned,
            folded.deadline_ms,
        )
        if found != wanted:
            violated(f"{reservation_id} is {found} in SQL and {wanted} in the journal")
    for name, change in changes.pools.items():
        free = change.total - change.held - change.sold - change.locked
        wanted_counters = PoolCounters(change.total, free, change.held, change.sold, change.locked)
        if tables.pools[name].counters != wanted_counters:
            violated(f"pool {name} is not the fold of the journal")
    if len(changes.sales) != sum(row.reservation_id in rows for row in tables.orders.values()):
        violated("the orders are not the journal's sales")
    for refund in changes.refunds:
        if refund.payment_ref not in tables.refunds:
            violated(f"the refund of {refund.payment_ref} is in the journal only")


def _check_expiries(
    read: Sequence[tuple[events.LogEntry, events.Event]], violated: Violated
) -> None:
    """Nothing expires before its deadline, by the clock that the script decided with."""
    deadlines: dict[str, int] = {}
    pools: dict[str, set[str]] = defaultdict(set)
    for _, event in read:
        if isinstance(event, events.Held):
            deadlines.update({hold.digest: event.deadline_ms for hold in event.holds})
            pools[event.pool].update(hold.digest for hold in event.holds)
        elif isinstance(event, events.Extended):
            deadlines[event.digest] = event.deadline_ms
        elif isinstance(event, events.Postponed):
            for digest in pools[event.pool]:
                if event.began_ms < deadlines[digest] < NO_DEADLINE_MS:
                    deadlines[digest] += event.by_ms
        elif isinstance(event, events.Released) and event.state is ReservationState.EXPIRED:
            early = [r.digest for r in event.releases if deadlines.get(r.digest, 0) > event.at_ms]
            if early:
                violated(f"{early} expired at {event.at_ms}, before their deadline")


def check_stores_agree(tables: Tables, data: DataSet, shards: int, violated: Violated) -> None:
    """What ``Comparison`` does not look at: buyers, deadlines, and the sums."""
    for shard in range(shards):
        tag = b"{fs:%02d}" % shard
        for sums in pool_sums(tables, shard):
            if not sums.agree():
                violated(f"pool {sums.pool}: its counters are not the sum: {sums}")
        seq = int(data.values.get(tag + b":meta", {}).get(b"seq", -1))
        cursor = tables.cursors[shard].seq
        if seq != cursor:
            violated(f"shard {shard} is at {seq} in Redis and at {cursor} in SQL")
        waiting: dict[str, set[str]] = defaultdict(set)
        for key, values in data.values.items():
            if key.startswith(tag + b":deadlines:"):
                for batch in values:
                    pool = key.partition(b":deadlines:")[2].decode()
                    waiting[pool] |= {batch[i : i + 16].decode() for i in range(0, len(batch), 16)}
        for name in [row.id for row in tables.pools.values() if row.shard == shard]:
            stored = data.values.get(_buyers_key(tag, name), {})
            found = {buyer.decode(): int(units) for buyer, units in stored.items()}
            wanted = {b: units for b, units in units_by_buyer(tables, name).items() if units}
            if found != wanted:
                violated(f"buyers of {name} are {found} in Redis and {wanted} in SQL")
            held = {
                row.id.partition("~")[2]
                for row in tables.reservations.values()
                if row.pool == name
                and (
                    row.state is ReservationState.HELD
                    or (row.state is ReservationState.ORDERED and row.cart.startswith(SEAT_MARK))
                )
            }
            check_seats_counted(tables, data, tag, name, violated)
            _check_memory(tables, data, tag, name, violated)
            if not held <= waiting[name]:
                violated(f"{sorted(held - waiting[name])} of {name} would never expire")


def _check_memory(tables: Tables, data: DataSet, tag: bytes, pool: str, violated: Violated) -> None:
    """Within the retention time Redis remembers every key, payment and command of the pool."""
    records = data.values.get(tag + b":reservations", {})
    rows = [row for row in tables.reservations.values() if row.pool == pool]
    missing = [row.id for row in rows if row.id.partition("~")[2].encode() not in records]
    if missing:
        violated(f"{missing} are in SQL and forgotten in Redis")
    for row in rows:
        if row.payment_ref is None:
            continue
        owner = data.values.get(tag + b":payment:" + digest_of("payment", row.payment_ref).encode())
        if owner != row.id.encode():
            violated(f"payment {row.payment_ref} of {row.id} belongs to {owner!r} in Redis")
    for journal in tables.journal.values():
        for entry in journal:
            if entry.pool != pool or entry.kind not in ("adjusted", "returned"):
                continue
            command = entry.payload.split("\t")[4 if entry.kind == "adjusted" else 6]
            if tag + b":command:" + command.encode() not in data.values:
                violated(f"command {command} of {pool} is forgotten in Redis")
