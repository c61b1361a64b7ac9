"""What is read of the simulated database: the interfaces of the ledger's queries and proofs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from flashstock.ledger.proof import CommandTrace, Extent, ReconcilablePool
from flashstock.ledger.stored import (
    BuyerTotal,
    CursorStatus,
    PoolSums,
    QuarantinedEvent,
    RetainedReservation,
    StoredPool,
    StoredRefund,
    StoredReservation,
)
from flashstock.model.ids import FIELD_SEPARATOR, limit_scope
from flashstock.model.records import ReservationRecord
from flashstock.model.states import ReservationState
from tests.simulation.loop import Process
from tests.simulation.sql import Database
from tests.simulation.sql_groups import SimulatedGroupQueries, retained
from tests.simulation.sql_tables import Tables

HELD: Final = ReservationState.HELD
COUNT_FOR_LIMIT: Final = (
    ReservationState.HELD,
    ReservationState.CONFIRMED,
    ReservationState.PAID,
)
T = TypeVar("T")


class _Reads:
    """One statement, one moment."""

    def __init__(self, database: Database, process: Process, clock: Callable[[], int]) -> None:
        self._database = database
        self._process = process
        self._clock = clock

    async def _read(self, name: str, work: Callable[[Tables], T]) -> T:
        return await self._database.run(self._process, name, lambda: work(self._database.tables))


class SimulatedQueries(_Reads, SimulatedGroupQueries):
    """``ledger.queries.Queries`` for one process."""

    async def cursors(self) -> list[CursorStatus]:
        return await self._read("cursors", lambda t: list(t.cursors.values()))

    async def pools(self, after: str, limit: int, *, shard: int) -> list[StoredPool]:
        def work(tables: Tables) -> list[StoredPool]:
            rows = [row for row in tables.pools.values() if row.id > after and row.shard == shard]
            return sorted(rows, key=lambda row: row.id)[:limit]

        return await self._read("pools", work)

    async def reservation_record(self, reservation_id: str) -> ReservationRecord | None:
        def work(tables: Tables) -> ReservationRecord | None:
            row = tables.reservations.get(reservation_id)
            return row.record() if row else None

        return await self._read("reservation_record", work)

    async def reservations_by_ids(self, ids: Collection[str]) -> list[StoredReservation]:
        wanted = list(ids)
        return await self._read(
            "reservations_by_ids",
            lambda t: [t.reservations[i] for i in wanted if i in t.reservations],
        )

    async def open_reservations(
        self, shard: int, after_id: str, limit: int, up_to_seq: int | None = None
    ) -> list[StoredReservation]:
        def work(tables: Tables) -> list[StoredReservation]:
            rows = _open(tables, shard, after_id)
            return [row for row in rows if up_to_seq is None or row.seq <= up_to_seq][:limit]

        return await self._read("open", work)

    async def retained_reservations(
        self, shard: int, after_id: str, limit: int, ended_since_ms: int
    ) -> list[RetainedReservation]:
        def work(tables: Tables) -> list[RetainedReservation]:
            after = tables.reservations.get(after_id)
            rows: list[StoredReservation] = []
            if after is None or after.state is HELD:
                rows = _open(tables, shard, after_id)
                after = None
            position = (-1, "") if after is None else (after.updated_at_ms, after.id)
            ended = [
                row
                for row in tables.reservations.values()
                if row.shard == shard
                and row.state is not HELD
                and (row.updated_at_ms >= ended_since_ms or row.deadline_ms > ended_since_ms)
                and (row.updated_at_ms, row.id) > position
            ]
            rows += sorted(ended, key=lambda row: (row.updated_at_ms, row.id))
            return [retained(row) for row in rows[:limit]]

        return await self._read("retained", work)

    async def max_order_index(self, shard: int) -> int:
        def work(tables: Tables) -> int:
            rows = tables.reservations.values()
            return max((row.order_index for row in rows if row.shard == shard), default=0)

        return await self._read("max_order_index", work)

    async def payment_owner(self, payment_ref: str) -> str | None:
        def work(tables: Tables) -> str | None:
            row = tables.orders.get(payment_ref) or tables.refunds.get(payment_ref)
            return row.reservation_id if row else None

        return await self._read("payment_owner", work)

    async def has_refund(self, payment_ref: str) -> bool:
        return await self._read("has_refund", lambda t: payment_ref in t.refunds)

    async def record_refund(
        self, record: ReservationRecord, reservation_id: str, payment_ref: str
    ) -> None:
        def work() -> None:
            tables = self._database.tables.copy()
            if payment_ref in tables.refunds:
                return
            tables.insert_refund(
                StoredRefund(
                    len(tables.refunds) + 1,
                    tables.reservations[reservation_id].shard,
                    reservation_id,
                    record.pool,
                    record.buyer,
                    record.quantity,
                    payment_ref,
                    self._clock(),
                    None,
                )
            )
            self._database.commit(tables)

        await self._database.run(self._process, "record_refund", work)

    async def refunds(self, after: int, limit: int) -> list[StoredRefund]:
        def work(tables: Tables) -> list[StoredRefund]:
            rows = [row for row in tables.refunds.values() if row.id > after]
            return sorted(rows, key=lambda row: row.id)[:limit]

        return await self._read("refunds", work)

    async def buyer_totals(
        self, pool: str, page: int
    ) -> AsyncGenerator[Sequence[BuyerTotal], None]:
        units = await self._read("buyer_totals", lambda t: units_by_buyer(t, pool))
        totals = [BuyerTotal(buyer, units[buyer]) for buyer in sorted(units)]
        for start in range(0, len(totals), page):
            rows = totals[start : start + page]
            await self._read("buyer_totals", lambda _: None)
            yield rows

    async def pool_sums(self, shard: int) -> list[PoolSums]:
        return await self._read("pool_sums", lambda t: pool_sums(t, shard))

    async def refused_events(
        self, shard: int, generation: int, after_seq: int
    ) -> list[tuple[str, int]]:
        def work(tables: Tables) -> list[tuple[str, int]]:
            assert not tables.quarantine, "the world would have been stopped"
            return []

        return await self._read("refused_events", work)

    async def quarantine_unpaused(self) -> list[QuarantinedEvent]:
        return await self._read(
            "quarantine", lambda t: [row for row in t.quarantine if not row.pool_paused]
        )

    async def mark_quarantine_paused(self, ids: Sequence[int]) -> None:
        def work() -> None:
            tables = self._database.tables.copy()
            tables.quarantine = [
                replace(row, pool_paused=row.pool_paused or row.id in ids)
                for row in tables.quarantine
            ]
            self._database.commit(tables)

        await self._database.run(self._process, "mark_quarantine_paused", work)


class SimulatedProof(_Reads):
    """``ledger.proof.Proof`` for one process."""

    async def cursor_seq(self, shard: int) -> int:
        def work(tables: Tables) -> int:
            row = tables.cursors.get(shard)
            return row.seq if row else 0

        return await self._read("cursor_seq", work)

    async def extent(self, shard: int) -> Extent:
        seq = await self.cursor_seq(shard)
        return await self._read(
            "extent", lambda t: Extent(seq, len(t.pools), len(_open(t, shard, "")))
        )

    async def pools(self, shard: int, after: str, limit: int) -> list[ReconcilablePool]:
        def work(tables: Tables) -> list[ReconcilablePool]:
            rows = [row for row in tables.pools.values() if row.id > after and row.shard == shard]
            seq = tables.cursors[shard].seq
            return [
                ReconcilablePool(row.id, seq, row.rules, row.counters, row.oversell_allowance)
                for row in sorted(rows, key=lambda row: row.id)[:limit]
            ]

        return await self._read("proof_pools", work)

    async def commands(
        self, shard: int, since_ms: int, after_seq: int, limit: int
    ) -> list[CommandTrace]:
        def work(tables: Tables) -> list[CommandTrace]:
            rows = [
                row
                for row in tables.journal.get(shard, [])
                if row.seq > after_seq
                and row.at_ms >= since_ms
                and row.kind in ("adjusted", "returned")
            ]
            return [_command(row) for row in rows[:limit]]

        return await self._read("commands", work)


def _open(tables: Tables, shard: int, after_id: str) -> list[StoredReservation]:
    after = tables.reservations.get(after_id)
    position = (-1, "") if after is None else (after.seq, after.id)
    rows = [
        row
        for row in tables.reservations.values()
        if row.shard == shard and row.state is HELD and (row.seq, row.id) > position
    ]
    return sorted(rows, key=lambda row: (row.seq, row.id))


def units_by_buyer(tables: Tables, pool: str) -> dict[str, int]:
    """Units held and confirmed, less what came back, where the pool's limit is counted."""
    units: dict[str, int] = defaultdict(int)
    scope = limit_scope(pool)
    for row in tables.reservations.values():
        if limit_scope(row.pool) == scope and row.state in COUNT_FOR_LIMIT:
            units[row.buyer] += row.quantity - row.returned
    return units


def pool_sums(tables: Tables, shard: int) -> list[PoolSums]:
    """Each pool's counters beside what its reservations add up to."""
    held: dict[str, int] = defaultdict(int)
    sold: dict[str, int] = defaultdict(int)
    for row in tables.reservations.values():
        if row.state is HELD:
            held[row.pool] += row.quantity
        elif row.state is ReservationState.CONFIRMED:
            sold[row.pool] += row.quantity - row.returned
    return [
        PoolSums(row.id, row.counters.held, row.counters.sold, held[row.id], sold[row.id])
        for row in tables.pools.values()
        if row.shard == shard
    ]


def _command(row: Any) -> CommandTrace:
    pool, _, *fields = row.payload.split(FIELD_SEPARATOR)
    if row.kind == "adjusted":
        total_delta, locked_delta, digest = fields
        text = FIELD_SEPARATOR.join(("adjust", pool, total_delta, locked_delta))
    else:
        reservation, _, _, _, digest, requested = fields
        text = FIELD_SEPARATOR.join(("return", reservation, requested))
    return CommandTrace(row.seq, row.at_ms, digest, text)
