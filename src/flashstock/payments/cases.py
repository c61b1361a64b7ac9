"""The cases: what does not agree, and how each was resolved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.errors import CaseResolved, UnknownPaymentCase
from flashstock.ledger.engine import reading, writing
from flashstock.payments.statements import LineKind
from flashstock.payments.tables import payment_cases
from flashstock.payments.verdicts import CaseCode


class Cases:
    """Raises ``LedgerUnavailable`` where SQL does not answer.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def page(
        self,
        after: int,
        limit: int,
        *,
        resolved: bool | None = None,
        kind: LineKind | None = None,
        code: CaseCode | None = None,
        gateway: str | None = None,
        payment_ref: str | None = None,
    ) -> list[Any]:
        """Rows of cases by id; those that fit everything that is named."""
        statement = select(payment_cases).where(payment_cases.c.id > after)
        if resolved is not None:
            is_open = payment_cases.c.resolved_at_ms.is_(None)
            statement = statement.where(~is_open if resolved else is_open)
        for column, wanted in (
            ("kind", kind),
            ("code", code),
            ("gateway", gateway),
            ("payment_ref", payment_ref),
        ):
            if wanted is not None:
                statement = statement.where(payment_cases.c[column] == str(wanted))
        async with reading(self._engine) as connection:
            statement = statement.order_by(payment_cases.c.id).limit(limit)
            return list((await connection.execute(statement)).all())

    async def resolve(self, case: int, note: str, actor: str) -> tuple[Any, bool]:
        """Note how a case was resolved, once.

        Returns:
            The row, and whether this call resolved it: repeating it changes nothing.

        Raises:
            UnknownPaymentCase. CaseResolved: with another note.
        """
        resolving = (
            update(payment_cases)
            .where(payment_cases.c.id == case, payment_cases.c.resolved_at_ms.is_(None))
            .values(resolved_at_ms=self._clock(), resolved_by=actor, note=note)
        )
        async with writing(self._engine) as connection:
            changed = (await connection.execute(resolving)).rowcount == 1
            found = await connection.execute(
                select(payment_cases).where(payment_cases.c.id == case)
            )
            row = found.first()
        if row is None:
            raise UnknownPaymentCase(f"there is no payment case {case}", case=case)
        if row.note != note:
            raise CaseResolved(case=case, note=row.note, resolved_by=row.resolved_by)
        return row, changed
