"""Holds what the service told its callers against what stands in SQL, and SQL against itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from flashstock.ledger import tables
from flashstock.ledger.engine import create_engine, reading
from flashstock.model import events
from flashstock.model.states import ReservationState
from tests.recovery.crowd import Wish


@dataclass
class Books:
    """All of SQL, in memory: test runs are small."""

    reservations: dict[str, Any] = field(default_factory=dict)
    orders: dict[str, Any] = field(default_factory=dict)
    """By reservation."""
    refunds: dict[str, Any] = field(default_factory=dict)
    """By payment."""
    pools: dict[str, Any] = field(default_factory=dict)
    journal: dict[int, list[Any]] = field(default_factory=dict)
    cursors: dict[int, Any] = field(default_factory=dict)
    quarantined: set[tuple[int, int]] = field(default_factory=set)


async def read_books(database_url: str) -> Books:
    engine = create_engine(database_url)
    try:
        async with reading(engine, 60_000) as connection:

            async def rows(table: Any) -> Iterable[Any]:
                return (await connection.execute(select(table))).all()

            books = Books(
                reservations={row.id: row for row in await rows(tables.reservations)},
                orders={row.reservation_id: row for row in await rows(tables.orders)},
                refunds={row.payment_ref: row for row in await rows(tables.refunds)},
                pools={row.id: row for row in await rows(tables.pools)},
                cursors={row.shard: row for row in await rows(tables.cursors)},
                quarantined={(row.shard, row.seq) for row in await rows(tables.quarantine)},
            )
            journal: dict[int, list[Any]] = defaultdict(list)
            for row in await rows(tables.journal):
                journal[row.shard].append(row)
            books.journal = {
                shard: sorted(found, key=lambda row: row.seq) for shard, found in journal.items()
            }
    finally:
        await engine.dispose()
    return books


def check_answers(books: Books, wishes: Iterable[Wish]) -> None:
    """Every acknowledgement is kept, and nothing stands in SQL that nobody was told of.

    All wishes must be settled: then what was granted is known to the last unit.
    """
    granted = {wish.reservation: wish for wish in wishes if wish.reservation}
    assert len(granted) == sum(bool(wish.reservation) for wish in wishes), "an id stands for one"
    pools = {wish.pool for wish in wishes}
    stored = {one.id: one for one in books.reservations.values() if one.pool in pools}
    assert stored.keys() == granted.keys(), stored.keys() ^ granted.keys()
    for reservation, wish in granted.items():
        row = stored[reservation]
        assert (row.pool, row.buyer, row.quantity) == (wish.pool, wish.buyer, wish.quantity)
        if wish.state is not None:
            assert row.state == wish.state.value, (wish, row)
        order = books.orders.get(reservation)
        if wish.paid is None:
            assert order is None, (wish, order)
        else:
            assert order is not None, wish
            told = (wish.paid.order_no, wish.paid.payment_ref)
            assert told == (order.order_no, order.payment_ref)
        assert (wish.payment_ref in books.refunds) == bool(wish.refund), wish


def check_books(books: Books) -> None:
    """The journal has no gap and nothing twice; SQL is its fold; no pool is oversold."""
    folded = Folded()
    for shard, entries in books.journal.items():
        expected_seq = 1
        generation = 0
        for row in entries:
            assert row.seq == expected_seq, f"shard {shard}: {row.seq} after {expected_seq - 1}"
            assert row.generation >= generation
            expected_seq, generation = row.seq + row.count, row.generation
            if row.count == 1 and (shard, row.seq) in books.quarantined:
                continue  # perhaps nobody can read it
            entry = events.LogEntry(
                shard, row.generation, row.seq, row.count, row.kind, row.payload
            )
            for place, part in enumerate(events.split(events.decode(entry))):
                if (shard, row.seq + place) not in books.quarantined:
                    folded.add(part)
        assert books.cursors[shard].seq == expected_seq - 1
    states = {one.id: one.state for one in books.reservations.values()}
    assert states == {one: state.value for one, state in folded.states.items()}
    for pool, row in books.pools.items():
        found = (row.total, row.held, row.sold, row.locked)
        assert found == tuple(folded.units[pool]), (pool, found, folded.units[pool])
        assert row.held + row.sold + row.locked <= row.total + row.oversell_allowance
        assert min(found) >= 0


class Folded:
    """What the journal says, told again without the product's own fold."""

    def __init__(self) -> None:
        self.states: dict[str, ReservationState] = {}
        self.units: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        """total, held, sold, locked"""

    def add(self, event: events.Event) -> None:
        units = self.units[event.pool]
        match event:
            case events.Configured(created=True):
                units[0] += event.total
                units[3] += event.locked
            case events.Adjusted():
                units[0] += event.total_delta
                units[3] += event.locked_delta
            case events.WaveReleased():
                units[3] -= event.quantity
            case events.Held():
                for hold in event.holds:
                    self._begin(f"{event.pool}~{hold.digest}", event.state)
                    units[1] += hold.quantity * (event.state is ReservationState.HELD)
            case events.Withdrawn():
                self._end(event.pool, event.digest, ReservationState.ORDERED, event.state)
            case events.Released():
                for part in event.releases:
                    self._end(event.pool, part.digest, ReservationState.HELD, event.state)
                    units[1] -= part.quantity
            case events.Confirmed():
                self._end(event.pool, event.digest, event.before, ReservationState.CONFIRMED)
                units[2] += event.quantity
                if event.before is ReservationState.HELD:
                    units[1] -= event.quantity
            case _:
                self._add_paid(event, units)

    def _add_paid(self, event: events.Event, units: list[int]) -> None:
        """What becomes of a seat that is paid, and of a sale."""
        match event:
            case events.Returned():
                units[2] -= event.quantity
                units[0] -= 0 if event.restock else event.quantity
                if event.complete:
                    before, after = ReservationState.CONFIRMED, ReservationState.RETURNED
                    self._end(event.pool, event.digest, before, after)
            case events.SeatPaid():
                self._end(event.pool, event.digest, event.before, ReservationState.PAID)
            case events.SeatsServed():
                for seat in event.seats:
                    paid, sold = ReservationState.PAID, ReservationState.CONFIRMED
                    self._end(event.pool, seat.digest, paid, sold)
                    units[2] += seat.quantity
            case events.SeatsRefunded():
                for given in event.seats:
                    self._end(event.pool, given.digest, given.before, ReservationState.REFUNDED)
                    units[2] -= given.quantity * (given.before is ReservationState.CONFIRMED)

    def _begin(self, reservation: str, state: ReservationState) -> None:
        assert reservation not in self.states, f"{reservation} was granted twice"
        self.states[reservation] = state

    def _end(
        self, pool: str, digest: str, before: ReservationState, after: ReservationState
    ) -> None:
        reservation = f"{pool}~{digest}"
        assert self.states[reservation] is before, f"{reservation} ended twice"
        self.states[reservation] = after
