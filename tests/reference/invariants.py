"""The invariants of the design, checked on all a shard holds. Numbers are those of its section 3.

The log is folded with the function that the ledger uses, so what SQL would say is part of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from flashstock.model.events import LogEntry, encode, events_in
from flashstock.model.fold import Changes, ReservationRow, fold
from flashstock.model.ids import limit_scope
from flashstock.model.records import ReservationRecord
from flashstock.model.rules import NO_DEADLINE_MS, PoolCounters
from flashstock.model.states import ReservationState
from tests.reference.subjects import ShardState

SOLD = (ReservationState.CONFIRMED, ReservationState.RETURNED)


def check(state: ShardState, limits: Mapping[str, int]) -> None:
    """``limits``: what each pool allowed a buyer at most, ever; 0 is no limit."""
    _check_counters(state)
    entries = _dense_entries(state)
    # 3: a reservation that is granted twice or ends twice raises here.
    changes = fold((entry, event) for entry, (_, event) in zip(entries, state.log, strict=True))
    _check_what_sql_would_say(state, changes)
    _check_reservations(state, changes)
    _check_payments(state, changes)
    _check_buyers(state, changes, limits)


def _check_counters(state: ShardState) -> None:
    """1: nothing is negative, and every unit is somewhere."""
    for name, pool in state.pools.items():
        assert pool.counters.balanced(), (name, pool.counters)


def _dense_entries(state: ShardState) -> list[LogEntry]:
    """5: the sequence has no gap, and its end is the shard's own count."""
    entries = []
    expected = 1
    for seq, event in state.log:
        assert seq == expected, f"seq {seq} where {expected} was next"
        kind, payload = encode(event)
        entries.append(LogEntry(0, 1, seq, events_in(event), kind, payload))
        expected += events_in(event)
    assert state.seq == expected - 1, (state.seq, expected - 1)
    return entries


def _check_what_sql_would_say(state: ShardState, changes: Changes) -> None:
    """2 and 5: the fold of the log gives the counters, and SQL's CHECKs would hold."""
    assert set(changes.pools) == set(state.pools)
    for name, change in changes.pools.items():
        taken = change.held + change.sold + change.locked
        assert min(change.held, change.sold, change.locked) >= 0, (name, change)
        assert taken <= change.total, (name, change)
        folded = PoolCounters(
            change.total, change.total - taken, change.held, change.sold, change.locked
        )
        assert state.pools[name].counters == folded, name
        waves = change.waves
        if waves is None:
            assert change.rules is not None
            waves = change.rules.waves
        assert state.pools[name].rules.waves == waves


def _check_reservations(state: ShardState, changes: Changes) -> None:
    """5 and 6: the records are those of the log, except what is forgotten, which has ended."""
    rows = {row.id.partition("~")[2]: row for row in changes.inserted.values()}
    assert not changes.changed, "a reservation changed that was never granted"
    assert len(rows) == len(changes.inserted), "one digest is in two pools"
    for digest, record in state.records.items():
        assert _as_record(rows[digest]) == record, digest
    for digest in rows.keys() - state.records.keys():
        assert rows[digest].state is not ReservationState.HELD, f"{digest} is held and forgotten"
        assert rows[digest].deadline_ms != NO_DEADLINE_MS, f"{digest} has no end and is forgotten"


def _as_record(row: ReservationRow) -> ReservationRecord:
    return ReservationRecord(
        row.state,
        row.deadline_ms,
        row.generation,
        row.seq,
        row.quantity,
        row.pool,
        row.buyer,
        row.cart,
        row.payment_ref or "",
        row.order_index,
        row.returned,
    )


def _check_payments(state: ShardState, changes: Changes) -> None:
    """7: a payment confirms one reservation or is due back, once; orders are numbered 1, 2, …"""
    references = Counter(sale.payment_ref for sale in changes.sales)
    # A seat that is refunded was sold first: its sale is undone by that.
    undone = {sale.payment_ref for sale in changes.sales if sale.reservation_id in changes.unsold}
    references.update(r.payment_ref for r in changes.refunds if r.payment_ref not in undone)
    assert not [reference for reference, times in references.items() if times > 1], references
    confirmed = Counter(sale.reservation_id for sale in changes.sales)
    assert not confirmed or max(confirmed.values()) == 1
    indexes = [sale.order_index for sale in changes.sales]
    assert indexes == list(range(1, state.orders + 1))


def _check_buyers(state: ShardState, changes: Changes, limits: Mapping[str, int]) -> None:
    """9: what a buyer holds and bought is counted rightly and within the limit."""
    taken: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in changes.inserted.values():
        scope = limit_scope(row.pool)
        if row.state in (ReservationState.HELD, ReservationState.PAID):
            taken[scope][row.buyer] += row.quantity
        elif row.state in SOLD and row.quantity > row.returned:
            taken[scope][row.buyer] += row.quantity - row.returned
    for name, pool in state.pools.items():
        assert pool.buyers == dict(taken[limit_scope(name)]), name
        if limit := limits.get(name):
            assert max(pool.buyers.values(), default=0) <= limit, (name, pool.buyers)
