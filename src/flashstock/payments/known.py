"""What is on record here of payments and refunds: read from the ledger, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import exists, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.tables import orders, refunds, reservations
from flashstock.payments.statements import LineKind
from flashstock.payments.tables import payment_lines, payment_statements
from flashstock.payments.verdicts import (
    CaseCode,
    Finding,
    KnownPayment,
    KnownRefund,
    Money,
    Remedy,
)

PAGE: Final = 500

AmountsOfOrders = Callable[[AsyncConnection, Sequence[Any]], Awaitable[Mapping[str, Money]]]
"""Order number → what its payment should have been, of those whose price is on record. It is given
rows with ``order_no``, ``reservation_id``, ``pool``, ``quantity`` and ``confirmed_at_ms``."""
AmountsOfOthers = Callable[[AsyncConnection, Sequence[str]], Awaitable[Mapping[str, Money]]]
"""Payment reference → money, of payments that are on record elsewhere than with an order."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What an amount is asked for."""

    order_no: str
    reservation_id: str
    pool: str
    quantity: int
    confirmed_at_ms: int


class Known:
    """Looks payments and refunds up.

    Args:
        amounts: what orders should have cost.
        others: payments that are on record elsewhere.
    """

    def __init__(self, amounts: AmountsOfOrders, others: AmountsOfOthers) -> None:
        self._amounts = amounts
        self._others = others

    async def payments(
        self, connection: AsyncConnection, references: Sequence[str]
    ) -> dict[str, KnownPayment]:
        """Those of these payments that we know of."""
        found: dict[str, KnownPayment] = {}
        for reference, money in (await self._others(connection, references)).items():
            found[reference] = KnownPayment(reference, money)
        owed = await connection.execute(
            select(refunds).where(refunds.c.payment_ref.in_(references))
        )
        for row in owed:
            about = (None, row.reservation_id)
            found[row.payment_ref] = KnownPayment(row.payment_ref, None, *about, owed=True)
        rows = (
            await connection.execute(
                select(orders, reservations.c.returned)
                .outerjoin(reservations, reservations.c.id == orders.c.reservation_id)
                .where(orders.c.payment_ref.in_(references))
            )
        ).all()
        amounts = await self._amounts(connection, rows)
        for row in rows:
            expected = amounts.get(row.order_no)
            returned = int(row.returned or 0)
            found[row.payment_ref] = KnownPayment(
                row.payment_ref,
                expected,
                row.order_no,
                row.reservation_id,
                returned,
                _share(expected, returned, row.quantity),
            )
        return found

    async def refunds(
        self, connection: AsyncConnection, references: Sequence[str]
    ) -> dict[str, KnownRefund]:
        """Those refunds on record that are of these payments, or were settled under these names."""
        rows = (
            await connection.execute(
                select(refunds).where(
                    or_(
                        refunds.c.payment_ref.in_(references),
                        refunds.c.settled_reference.in_(references),
                    )
                )
            )
        ).all()
        priced = [
            Priced(str(row.id), row.reservation_id, row.pool, row.quantity, row.recorded_at_ms)
            for row in rows
        ]
        amounts = await self._amounts(connection, priced)
        found: dict[str, KnownRefund] = {}
        for row in rows:
            known = KnownRefund(
                row.id,
                row.payment_ref,
                row.reservation_id,
                row.settled_at_ms is not None,
                amounts.get(str(row.id)),
            )
            found[row.payment_ref] = known
            if row.settled_reference:
                found.setdefault(row.settled_reference, known)
        return found

    async def missing_payments(
        self, connection: AsyncConnection, from_ms: int, to_ms: int, prefix: str
    ) -> AsyncIterator[Finding]:
        """Sales of a time that no statement has."""
        on_record = _on_a_statement(LineKind.PAYMENT, orders.c.payment_ref)
        position = (from_ms, "")
        while True:
            statement = (
                select(orders)
                .where(
                    tuple_(orders.c.confirmed_at_ms, orders.c.order_no) > tuple_(*position),
                    orders.c.confirmed_at_ms < to_ms,
                    orders.c.payment_ref.startswith(prefix, autoescape=True),
                    ~on_record,
                )
                .order_by(orders.c.confirmed_at_ms, orders.c.order_no)
                .limit(PAGE)
            )
            rows = (await connection.execute(statement)).all()
            amounts = await self._amounts(connection, rows) if rows else {}
            for row in rows:
                yield Finding(
                    LineKind.PAYMENT,
                    CaseCode.HERE_NOT_THERE,
                    row.payment_ref,
                    Remedy.ASK_GATEWAY,
                    here=amounts.get(row.order_no),
                    order_no=row.order_no,
                    reservation=row.reservation_id,
                )
            if len(rows) < PAGE:
                return
            position = (rows[-1].confirmed_at_ms, rows[-1].order_no)

    async def missing_refunds(
        self, connection: AsyncConnection, from_ms: int, to_ms: int, prefix: str
    ) -> AsyncIterator[Finding]:
        """Refunds that were settled here in a time and that no statement has."""
        by_payment = _on_a_statement(LineKind.REFUND, refunds.c.payment_ref)
        by_reference = _on_a_statement(LineKind.REFUND, refunds.c.settled_reference)
        after = 0
        while True:
            statement = (
                select(refunds)
                .where(
                    refunds.c.id > after,
                    refunds.c.settled_at_ms >= from_ms,
                    refunds.c.settled_at_ms < to_ms,
                    refunds.c.payment_ref.startswith(prefix, autoescape=True),
                    ~by_payment,
                    ~by_reference,
                )
                .order_by(refunds.c.id)
                .limit(PAGE)
            )
            rows = (await connection.execute(statement)).all()
            for row in rows:
                yield Finding(
                    LineKind.REFUND,
                    CaseCode.HERE_NOT_THERE,
                    row.payment_ref,
                    Remedy.REFUND_AGAIN,
                    reservation=row.reservation_id,
                    refund=row.id,
                )
            if len(rows) < PAGE:
                return
            after = rows[-1].id


def _on_a_statement(kind: LineKind, reference: Any) -> Any:
    """Whether a statement that counts has the reference, whichever gateway's and day's."""
    return exists().where(
        payment_lines.c.payment_ref == reference,
        payment_lines.c.kind == kind.value,
        payment_statements.c.id == payment_lines.c.statement,
        payment_statements.c.superseded_by.is_(None),
    )


def _share(money: Money | None, returned: int, quantity: int) -> Money | None:
    """The price of the units that came back."""
    if money is None:
        return None
    return money[0] * returned // quantity, money[1]
