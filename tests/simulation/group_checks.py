"""What must be true of groups: after every script, and when everything has come to rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flashstock.model import events
from flashstock.model.changes import Changes
from flashstock.model.group_fold import seats_moved
from flashstock.model.group_records import (
    GroupRecord,
    group_of_cart,
    open_score,
    unpack_group,
)
from flashstock.model.states import GroupState, ReservationState
from tests.simulation.redis_data import DataSet
from tests.simulation.sql_groups import folded_groups, groups_of_buyers, live_seats
from tests.simulation.sql_tables import Tables

Violated = Callable[[str], None]
ENDED_UNPAID = (
    ReservationState.CANCELLED,
    ReservationState.EXPIRED,
    ReservationState.REVOKED,
)


def check_groups(data: DataSet, keys: Sequence[bytes], violated: Violated) -> None:
    """After a script: never more than ``size`` seats, full is formed, and every list is right."""
    tag = keys[0].partition(b":")[0]
    if tag + b":groups" not in keys:
        return
    packed: Mapping[bytes, bytes] = data.values.get(tag + b":groups", {})
    groups = {digest.decode(): unpack_group(text.decode()) for digest, text in packed.items()}
    for digest, group in groups.items():
        _check_group(digest, group, violated)
    pools = {key.partition(b":pool:")[2].decode() for key in keys if b":pool:" in key}
    for pool in sorted(pools):
        mine = {digest: group for digest, group in groups.items() if group.pool == pool}
        _check_lists(data, tag, pool, mine, violated)


def _check_group(digest: str, group: GroupRecord, violated: Violated) -> None:
    size = group.rules.size
    if min(group.pending, group.paid) < 0 or group.pending + group.paid > size:
        violated(f"group {digest} has more or less seats than there are: {group}")
    full = group.paid + group.house == size
    if (group.state is GroupState.FORMED) != (full and group.state is not GroupState.FAILED):
        violated(f"group {digest} is full and not formed, or formed and not full: {group}")
    if group.state is not GroupState.FORMED and group.house:
        violated(f"group {digest} has seats of the house and has not formed: {group}")


def _check_lists(
    data: DataSet, tag: bytes, pool: str, groups: Mapping[str, GroupRecord], violated: Violated
) -> None:
    def values(kind: str) -> dict[str, Any]:
        found = data.values.get(tag + f":{kind}:{pool}".encode(), {})
        return {member.decode(): value for member, value in found.items()}

    members = Counter(member[:16] for member in values("group-members"))
    for digest, group in groups.items():
        if group.state is GroupState.FAILED and not group.pending + group.paid:
            continue  # a namesake that was taken back shares its members with nobody
        if members[digest] != group.pending + group.paid:
            violated(f"group {digest} has {members[digest]} members: {group}")
    still = {d: group for d, group in groups.items() if group.state is GroupState.OPEN}
    shown = {d: float(open_score(g.missing, g.deadline_ms)) for d, g in still.items() if g.missing}
    if values("open-groups") != shown:
        violated(f"open groups of {pool} are {values('open-groups')}, should be {shown}")
    ends = values("group-deadlines")
    if missing := groups.keys() - ends.keys():
        violated(f"nobody would end {sorted(missing)} of {pool}")
    late = {d for d, group in still.items() if d in ends and ends[d] > group.deadline_ms}
    if late:
        violated(f"{sorted(late)} of {pool} would end too late")
    counted = data.values.get(tag + f":pool:{pool}".encode(), {}).get(b"groups_open")
    if counted is not None and int(counted) != len(still):
        violated(f"{pool} has {counted!r} open groups and {len(still)} of them")


def check_folded_groups(tables: Tables, shard: int, changes: Changes, violated: Violated) -> None:
    """SQL's groups are what the journal says, and each ended once."""
    wanted = folded_groups(shard, changes, seats_moved(changes, {}))
    found = [row for row in tables.groups.values() if tables.pools[row.pool].shard == shard]
    if sorted(found) != sorted(wanted):
        violated(f"groups are {sorted(found)} in SQL and {sorted(wanted)} in the journal")


def check_ends(
    read: Sequence[tuple[events.LogEntry, events.Event]], tables: Tables, violated: Violated
) -> None:
    """Each group is opened once and ends once; each paid seat that is given back is owed once."""
    opened: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    refunded: Counter[str] = Counter()
    formed: set[str] = set()
    for _, event in read:
        match event:
            case events.GroupsOpened():
                opened.update(f"{event.pool}~{digest}" for digest in event.groups)
            case events.GroupFormed():
                ended[f"{event.pool}~{event.group}"] += 1
                formed.add(f"{event.pool}~{event.group}")
            case events.GroupFailed():
                ended[f"{event.pool}~{event.group}"] += 1
            case events.SeatsRefunded():
                refunded.update(f"{event.pool}~{seat.digest}" for seat in event.seats)
                if f"{event.pool}~{event.group}" in formed:
                    violated(f"seats of {event.group} are given back, though it has formed")
    if set(opened.values()) - {1} or set(ended.values()) - {1} or ended.keys() - opened.keys():
        violated(f"groups opened or ended twice: {opened} {ended}")
    for reservation, times in refunded.items():
        row = tables.reservations[reservation]
        owed = tables.refunds.get(row.payment_ref or "")
        if times != 1 or row.state is not ReservationState.REFUNDED or owed is None:
            violated(f"{reservation} is given back {times} times, and {owed} is owed: {row}")
        if reservation not in tables.finished:
            violated(f"the order of {reservation} would be sent, though it is given back")


def check_settled(tables: Tables, violated: Violated) -> None:
    """Long after every deadline: each group formed or failed, and nobody waits any more."""
    for group in tables.groups.values():
        seats = [
            row
            for row in tables.reservations.values()
            if row.pool == group.pool and group_of_cart(row.cart) == group.digest
        ]
        states = Counter(row.state for row in seats)
        sold = states[ReservationState.CONFIRMED] + states[ReservationState.RETURNED]
        if group.state == GroupState.FORMED:
            allowed = {*ENDED_UNPAID, *_SOLD, ReservationState.REFUNDED}
            right = sold == group.paid
        else:
            allowed = {*ENDED_UNPAID, ReservationState.REFUNDED}
            right = group.state == GroupState.FAILED
        if group.unsettled or not right or states.keys() - allowed:
            violated(f"{group} is not settled: {states}")


_SOLD = (ReservationState.CONFIRMED, ReservationState.RETURNED)


def check_seats_counted(
    tables: Tables, data: DataSet, tag: bytes, pool: str, violated: Violated
) -> None:
    """Redis counts for each buyer the groups they are in, and their seats in each."""
    stored = data.values.get(tag + f":group-seats:{pool}".encode(), {})
    found = {field.decode(): int(count) for field, count in stored.items()}
    wanted: dict[str, int] = defaultdict(int)
    for row in live_seats(tables, pool):
        wanted[f"{group_of_cart(row.cart)}\t{row.buyer}"] += 1
    for buyer, count in groups_of_buyers(tables, pool).items():
        wanted[f"\t{buyer}"] = count
    if found != wanted:
        violated(f"seats of {pool} are counted as {found} in Redis, and are {dict(wanted)}")
