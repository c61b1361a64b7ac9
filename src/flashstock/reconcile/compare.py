"""Comparing what SQL says with what Redis says. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from flashstock.ledger.proof import ReconcilablePool
from flashstock.model import events
from flashstock.model.fold import PoolChange, fold
from flashstock.model.records import ReservationRecord
from flashstock.model.rules import PoolCounters, PoolRules
from flashstock.model.states import ReservationState


@dataclass(frozen=True, slots=True)
class Difference:
    """Something the two stores disagree about, and what would mend it."""

    kind: str
    pool: str
    subject: str
    ledger: Any
    store: Any
    remedy: str
    explained_by: dict[str, Any] | None = None
    """The last journal entry of its subject, or the later one that put its deadline off:
    ``{generation, seq, kind, at}``."""

    def document(self) -> dict[str, Any]:
        """As it stands in the report."""
        return asdict(self)


REWRITE: Final = "rewrite the pool's counters from SQL"
RESTORE: Final = "restore the reservation from SQL"
REBUILD: Final = "rebuild the shard from SQL"
FORGET: Final = "drop the reservation that SQL never recorded"


_WAITING: Final = (ReservationState.HELD, ReservationState.ORDERED)


def in_flight(
    entries: Iterable[tuple[events.LogEntry, events.Event]], after_seq: int, up_to_seq: int
) -> dict[str, PoolChange]:
    """What the events in ``(after_seq, up_to_seq]`` will do to each pool in SQL."""
    window = [
        (entry, event)
        for entry, event in entries
        if entry.seq > after_seq and entry.last_seq <= up_to_seq
    ]
    return fold(window).pools


def expected_counters(ledger: ReconcilablePool, change: PoolChange | None) -> PoolCounters:
    """The pool's counters once the events in flight are applied."""
    if change is None:
        return ledger.counters
    total = ledger.counters.total + change.total
    held = ledger.counters.held + change.held
    sold = ledger.counters.sold + change.sold
    locked = ledger.counters.locked + change.locked
    return PoolCounters(total, total - held - sold - locked, held, sold, locked)


def expected_rules(ledger: ReconcilablePool, change: PoolChange | None) -> PoolRules:
    """The pool's rules once the events in flight are applied."""
    if change is None:
        return ledger.rules
    rules = change.rules or ledger.rules
    return rules if change.waves is None else replace(rules, waves=change.waves)


def compare_pool(
    ledger: ReconcilablePool, change: PoolChange | None, rules: PoolRules, counters: PoolCounters
) -> list[Difference]:
    """Differences of one pool, the events in flight taken into account."""
    expected = expected_counters(ledger, change)
    differences = [
        Difference("counter", ledger.pool, name, wanted, found, REWRITE)
        for name in ("total", "available", "held", "sold", "locked")
        if (wanted := getattr(expected, name)) != (found := getattr(counters, name))
    ]
    wanted_rules = expected_rules(ledger, change)
    if wanted_rules != rules:
        differences.append(
            Difference("rules", ledger.pool, "rules", repr(wanted_rules), repr(rules), REWRITE)
        )
    return differences


def compare_reservation(
    reservation_id: str, ledger: ReservationRecord | None, store: ReservationRecord | None
) -> Difference | None:
    """The difference of one reservation, if any. Both are read at the same log position."""
    pool = reservation_id.partition("~")[0]
    if ledger is None and store is not None:
        return Difference("unrecorded", pool, reservation_id, None, store.state.value, FORGET)
    if ledger is None:
        return None
    if store is None and ledger.state is not ReservationState.HELD:
        return None  # forgotten after its retention: as it should be
    if store is None:
        return Difference("missing", pool, reservation_id, ledger.state.value, None, RESTORE)
    for name in ("state", "quantity", "buyer", "payment_ref", "returned"):
        wanted, found = getattr(ledger, name), getattr(store, name)
        if wanted != found:
            return Difference(name, pool, reservation_id, str(wanted), str(found), RESTORE)
    if ledger.state in _WAITING and ledger.deadline_ms != store.deadline_ms:
        wanted, found = ledger.deadline_ms, store.deadline_ms
        return Difference("deadline", pool, reservation_id, wanted, found, RESTORE)
    return None


def oversold_units(counters: PoolCounters, allowance: int = 0) -> int:
    """Units promised beyond what the pool has."""
    return max(0, counters.held + counters.sold - counters.total - allowance)
