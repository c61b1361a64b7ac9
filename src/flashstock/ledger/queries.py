"""Everything that is read from SQL, and the few rows that are written outside the log.

Lists come in pages: a ``limit``, and ``after`` the last key of the page before (empty or 0 for
the first). Every method raises ``LedgerUnavailable`` where the database did not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import func, not_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.ledger.engine import insert_if_absent, writing
from flashstock.ledger.group_queries import GroupQueries
from flashstock.ledger.group_watch_queries import GroupWatchQueries
from flashstock.ledger.journal_queries import JournalQueries
from flashstock.ledger.outage_queries import OutageQueries
from flashstock.ledger.pool_queries import PoolQueries
from flashstock.ledger.quarantine_queries import QuarantineQueries
from flashstock.ledger.reservation_queries import ReservationQueries
from flashstock.ledger.shown_groups import ShownGroupQueries
from flashstock.ledger.stored import (
    ApiKey,
    CursorStatus,
    OpenMatters,
    StoredRefund,
)
from flashstock.ledger.tables import (
    api_keys,
    cursors,
    quarantine,
    refunds,
    reservations,
    settings,
)
from flashstock.ledger.watch_queries import WatchQueries
from flashstock.model.records import ReservationRecord


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Queries(
    PoolQueries,
    ReservationQueries,
    GroupQueries,
    ShownGroupQueries,
    GroupWatchQueries,
    JournalQueries,
    OutageQueries,
    QuarantineQueries,
    WatchQueries,
):
    """The reading side of SQL.

    Args:
        clock: ms since the epoch; stamps what is recorded here.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int] = wall_clock_ms) -> None:
        super().__init__(engine)
        self._clock = clock

    async def cursors(self) -> list[CursorStatus]:
        """Every shard's cursor, by shard."""
        rows = await self._all(select(cursors).order_by(cursors.c.shard))
        return [CursorStatus(**row._asdict()) for row in rows]

    async def refunds(
        self, after: int, limit: int, *, settled: bool | None = None
    ) -> list[StoredRefund]:
        """Payments that are due back, by id: those settled, those not, or (``None``) all."""
        statement = select(refunds).where(refunds.c.id > after).order_by(refunds.c.id)
        if settled is not None:
            is_open = refunds.c.settled_at_ms.is_(None)
            statement = statement.where(not_(is_open) if settled else is_open)
        return [StoredRefund(**row._asdict()) for row in await self._all(statement.limit(limit))]

    async def settle_refund(
        self, refund_id: int, reference: str, settled_by: str
    ) -> tuple[StoredRefund, bool] | None:
        """Note that the money went back, once: the first reference stays.

        Returns:
            The refund as it is now and whether this call settled it; ``None``: no such refund.
        """
        settle = (
            update(refunds)
            .where(refunds.c.id == refund_id, refunds.c.settled_at_ms.is_(None))
            .values(settled_at_ms=self._clock(), settled_by=settled_by, settled_reference=reference)
        )
        async with writing(self._engine) as connection:
            changed = (await connection.execute(settle)).rowcount == 1
            found = await connection.execute(select(refunds).where(refunds.c.id == refund_id))
            row = found.first()
        return None if row is None else (StoredRefund(**row._asdict()), changed)

    async def record_refund(
        self, record: ReservationRecord, reservation_id: str, payment_ref: str
    ) -> None:
        """Put a refund on record for a reservation the hot path has forgotten. Idempotent."""
        row = {
            "shard": select(reservations.c.shard)
            .where(reservations.c.id == reservation_id)
            .scalar_subquery(),
            "reservation_id": reservation_id,
            "pool": record.pool,
            "buyer": record.buyer,
            "quantity": record.quantity,
            "payment_ref": payment_ref,
            "recorded_at_ms": self._clock(),
        }
        async with writing(self._engine) as connection:
            await connection.execute(insert_if_absent(self._engine, refunds).values(row))

    async def open_matters(self) -> OpenMatters:
        """How much waits for a person, and since when."""
        open_refunds = refunds.c.settled_at_ms.is_(None)
        counts = select(
            select(func.count())
            .select_from(quarantine)
            .where(quarantine.c.resolved_at_ms.is_(None))
            .scalar_subquery(),
            select(func.count()).select_from(refunds).where(open_refunds).scalar_subquery(),
            select(func.min(refunds.c.recorded_at_ms)).where(open_refunds).scalar_subquery(),
        )
        ((quarantined, due, oldest_ms),) = await self._all(counts)
        return OpenMatters(quarantined, due, oldest_ms)

    async def setting(self, name: str) -> str | None:
        row = await self._first(select(settings.c.value).where(settings.c.name == name))
        return None if row is None else str(row.value)

    async def put_setting_once(self, name: str, value: str) -> str:
        """Set what was never set. Returns what it is now: the first value, whoever set it."""
        async with writing(self._engine) as connection:
            row = {"name": name, "value": value}
            await connection.execute(insert_if_absent(self._engine, settings), row)
            found = select(settings.c.value).where(settings.c.name == name)
            return str((await connection.execute(found)).scalar_one())

    async def put_setting(self, name: str, value: str) -> None:
        """Set what may change."""
        change = update(settings).where(settings.c.name == name).values(value=value)
        async with writing(self._engine) as connection:
            if (await connection.execute(change)).rowcount == 0:
                row = {"name": name, "value": value}
                await connection.execute(insert_if_absent(self._engine, settings), row)

    async def api_keys(self) -> list[ApiKey]:
        """Every key, revoked ones too, by name."""
        rows = await self._all(select(api_keys).order_by(api_keys.c.name))
        return [ApiKey(**row._asdict()) for row in rows]

    async def add_api_key(self, name: str, role: str, key_hash: str, at_ms: int) -> bool:
        """False, and nothing changed, where the name (or the key) is taken."""
        row = {"name": name, "role": role, "key_hash": key_hash, "created_at_ms": at_ms}
        async with writing(self._engine) as connection:
            statement = insert_if_absent(self._engine, api_keys)
            return (await connection.execute(statement, row)).rowcount == 1

    async def revoke_api_key(self, name: str, at_ms: int) -> bool:
        """False where no such key is valid."""
        statement = (
            update(api_keys)
            .where(api_keys.c.name == name, api_keys.c.revoked_at_ms.is_(None))
            .values(revoked_at_ms=at_ms)
        )
        async with writing(self._engine) as connection:
            return (await connection.execute(statement)).rowcount == 1
