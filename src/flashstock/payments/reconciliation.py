"""Reconcile a gateway's statement: what differs becomes a case, once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import orjson
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.ledger.engine import writing
from flashstock.model.ids import digest_of
from flashstock.payments.known import PAGE, Known
from flashstock.payments.statements import Line, LineKind, ParsedStatement, parse_statement
from flashstock.payments.tables import payment_cases, payment_lines, payment_statements
from flashstock.payments.verdicts import (
    CaseCode,
    Finding,
    judge_payments,
    judge_refunds,
)
from flashstock.stockbook.posting import lock_book

TIMEOUT_MS: Final = 300_000
LATER_STATEMENT: Final = "a later statement has it"
BY_STATEMENT: Final = "statement "
"""No API key has a name with a space in it."""
NEWER_STATEMENT: Final = "a newer statement of the day says otherwise"

Case = tuple[str, str, str]
"""Kind, code and payment reference: what tells cases of one gateway apart."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a statement showed. ``replayed``: it was sent before, and nothing was done again."""

    document: dict[str, Any]
    replayed: bool = False


class Reconciliation:
    """Takes statements. Raises ``LedgerUnavailable`` where SQL does not answer.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int], known: Known) -> None:
        self._engine = engine
        self._clock = clock
        self._known = known

    async def take(
        self, gateway: str, day: str, prefix: str, body: bytes, caller: str
    ) -> Reconciled:
        """Reconcile one gateway's statement of one day (UTC).

        The same file again gives the same answer and does nothing. Another file of the same gateway
        and day takes the place of the one before: its cases that are not found again are closed.

        Args:
            prefix: what our payment references of this gateway begin with; empty where there is one
                gateway only. It decides which of our payments should be on the statement.

        Raises:
            CsvRefused: with every row that can't be taken; nothing was.
        """
        digest = digest_of("statement", prefix, sha256(body).hexdigest())
        parsed = await asyncio.to_thread(parse_statement, body)
        async with writing(self._engine, TIMEOUT_MS) as connection:
            await lock_book(connection)  # one statement at a time
            mine = (payment_statements.c.gateway == gateway) & (payment_statements.c.day == day)
            found = await connection.execute(
                select(payment_statements).where(mine, payment_statements.c.digest == digest)
            )
            earlier = found.first()
            if earlier is not None:
                return Reconciled(orjson.loads(earlier.result), replayed=True)
            statement = await self._write(connection, gateway, day, digest, parsed, caller)
            document = await self._reconcile(connection, statement, gateway, day, prefix, parsed)
            await connection.execute(
                update(payment_statements)
                .where(payment_statements.c.id == statement)
                .values(result=orjson.dumps(document).decode())
            )
        return Reconciled(document)

    async def _write(
        self,
        connection: AsyncConnection,
        gateway: str,
        day: str,
        digest: str,
        parsed: ParsedStatement,
        caller: str,
    ) -> int:
        row = {
            "gateway": gateway,
            "day": day,
            "digest": digest,
            "uploaded_by": caller,
            "at_ms": self._clock(),
        }
        inserted = await connection.execute(
            insert(payment_statements).returning(payment_statements.c.id), row
        )
        statement = int(inserted.scalar_one())
        await connection.execute(
            update(payment_statements)
            .where(
                payment_statements.c.gateway == gateway,
                payment_statements.c.day == day,
                payment_statements.c.id != statement,
                payment_statements.c.superseded_by.is_(None),
            )
            .values(superseded_by=statement)
        )
        rows = [
            {
                "statement": statement,
                "line": line.line,
                "kind": line.kind.value,
                "payment_ref": line.payment_ref,
                "amount_minor": line.amount_minor,
                "currency": line.currency,
                "at_ms": line.at_ms,
            }
            for line in parsed.lines
        ]
        if rows:
            await connection.execute(insert(payment_lines), rows)
        return statement

    async def _reconcile(
        self,
        connection: AsyncConnection,
        statement: int,
        gateway: str,
        day: str,
        prefix: str,
        parsed: ParsedStatement,
    ) -> dict[str, Any]:
        counted: Counter[str] = Counter()
        found: set[Case] = set()
        findings: list[Finding] = []
        opened = 0
        async for finding in self._findings(connection, gateway, day, prefix, parsed, counted):
            found.add((finding.kind.value, finding.code.value, finding.payment_ref))
            counted[f"{finding.kind.value}.{finding.code.value}"] += 1
            findings.append(finding)
            if len(findings) == PAGE:
                opened += await self._open(connection, statement, gateway, day, findings)
                findings = []
        opened += await self._open(connection, statement, gateway, day, findings)
        closed = await self._close(connection, statement, gateway, day, found, parsed)
        kinds = Counter(line.kind for line in parsed.lines)
        cases = {
            f"{kind.value}.{code.value}": counted[f"{kind.value}.{code.value}"]
            for kind in LineKind
            for code in CaseCode
        }
        return {
            "id": statement,
            "gateway": gateway,
            "day": day,
            "payments": kinds[LineKind.PAYMENT],
            "refunds": kinds[LineKind.REFUND],
            "skipped": parsed.skipped,
            "amounts_compared": counted["compared"],
            "amounts_unknown": counted["unknown"],
            "cases": cases,
            "cases_opened": opened,
            "cases_closed": closed,
        }

    async def _findings(
        self,
        connection: AsyncConnection,
        gateway: str,
        day: str,
        prefix: str,
        parsed: ParsedStatement,
        counted: Counter[str],
    ) -> AsyncIterator[Finding]:
        for kind in LineKind:
            references = sorted({line.payment_ref for line in parsed.lines if line.kind is kind})
            for start in range(0, len(references), PAGE):
                part = references[start : start + PAGE]
                lines = await _lines(connection, gateway, kind, part)
                for finding in await self._judged(connection, kind, part, lines, counted):
                    yield finding
        from_ms, to_ms = span_of(day)
        async for finding in self._known.missing_payments(connection, from_ms, to_ms, prefix):
            yield finding
        async for finding in self._known.missing_refunds(connection, from_ms, to_ms, prefix):
            yield finding

    async def _judged(
        self,
        connection: AsyncConnection,
        kind: LineKind,
        references: Sequence[str],
        lines: dict[str, list[Line]],
        counted: Counter[str],
    ) -> list[Finding]:
        payments = await self._known.payments(connection, references)
        findings: list[Finding] = []
        if kind is LineKind.PAYMENT:
            for reference in references:
                payment = payments.get(reference)
                findings += judge_payments(reference, lines[reference], payment)
                if payment is not None:
                    counted["unknown" if payment.expected is None else "compared"] += 1
            return findings
        refunds = await self._known.refunds(connection, references)
        for reference in references:
            refund, payment = refunds.get(reference), payments.get(reference)
            findings += judge_refunds(reference, lines[reference], refund, payment)
            known = refund or payment
            if known is not None:
                counted["unknown" if known.expected is None else "compared"] += 1
        return findings

    async def _open(
        self,
        connection: AsyncConnection,
        statement: int,
        gateway: str,
        day: str,
        findings: Sequence[Finding],
    ) -> int:
        """Open cases, or open them again where only a statement had closed them; how many. The same
        one that is open already, or that a person has resolved, stays as it is.
        """
        rows: dict[Case, dict[str, Any]] = {}
        for finding in findings:
            row = self._row(statement, gateway, day, finding)
            rows.setdefault((row["kind"], row["code"], row["payment_ref"]), row)
        if not rows:
            return 0
        references = sorted({row["payment_ref"] for row in rows.values()})
        known = await connection.execute(
            select(payment_cases)
            .where(payment_cases.c.gateway == gateway, payment_cases.c.payment_ref.in_(references))
            .with_for_update()
        )
        opened = 0
        for case in known.all():
            again = rows.pop((case.kind, case.code, case.payment_ref), None)
            if again is not None and (case.resolved_by or "").startswith(BY_STATEMENT):
                opened += 1
                await connection.execute(
                    update(payment_cases)
                    .where(payment_cases.c.id == case.id)
                    .values({**again, "resolved_at_ms": None, "resolved_by": None, "note": None})
                )
        if rows:
            await connection.execute(insert(payment_cases), list(rows.values()))
        return opened + len(rows)

    def _row(self, statement: int, gateway: str, day: str, finding: Finding) -> dict[str, Any]:
        here, there = finding.here or (None, None), finding.there or (None, None)
        return {
            "statement": statement,
            "gateway": gateway,
            "day": day,
            "kind": finding.kind.value,
            "code": finding.code.value,
            "payment_ref": finding.payment_ref,
            "line": finding.line,
            "order_no": finding.order_no,
            "reservation": finding.reservation,
            "refund": finding.refund,
            "amount_here_minor": here[0],
            "currency_here": here[1],
            "amount_there_minor": there[0],
            "currency_there": there[1],
            "remedy": finding.remedy.value,
            "opened_at_ms": self._clock(),
        }

    async def _close(
        self,
        connection: AsyncConnection,
        statement: int,
        gateway: str,
        day: str,
        found: set[Case],
        parsed: ParsedStatement,
    ) -> int:
        """Close what this statement explains: what it has after all, and what of the same gateway
        and day it does not show again.
        """
        is_open = payment_cases.c.resolved_at_ms.is_(None)
        arrived = {(line.kind.value, line.payment_ref) for line in parsed.lines}
        rows = (
            await connection.execute(
                select(payment_cases).where(
                    is_open,
                    payment_cases.c.statement != statement,
                    (payment_cases.c.gateway == gateway)
                    | (payment_cases.c.code == CaseCode.HERE_NOT_THERE.value),
                )
            )
        ).all()
        notes: dict[str, list[int]] = {LATER_STATEMENT: [], NEWER_STATEMENT: []}
        for row in rows:
            if row.code == CaseCode.HERE_NOT_THERE and (row.kind, row.payment_ref) in arrived:
                notes[LATER_STATEMENT].append(row.id)
            elif (row.gateway, row.day) == (gateway, day) and (
                row.kind,
                row.code,
                row.payment_ref,
            ) not in found:
                notes[NEWER_STATEMENT].append(row.id)
        resolved = {"resolved_at_ms": self._clock(), "resolved_by": f"{BY_STATEMENT}{statement}"}
        for note, ids in notes.items():
            for start in range(0, len(ids), PAGE):
                await connection.execute(
                    update(payment_cases)
                    .where(payment_cases.c.id.in_(ids[start : start + PAGE]), is_open)
                    .values(**resolved, note=note)
                )
        return sum(map(len, notes.values()))


def span_of(day: str) -> tuple[int, int]:
    """A day in UTC, in ms: its first moment, and the first after it. Raises ``ValueError``."""
    first = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    try:
        after = first + timedelta(days=1)
    except OverflowError:
        raise ValueError(f"nothing comes after {day}") from None
    return int(first.timestamp()) * 1_000, int(after.timestamp()) * 1_000


async def _lines(
    connection: AsyncConnection, gateway: str, kind: LineKind, references: Sequence[str]
) -> dict[str, list[Line]]:
    """Every line that counts, of whichever day, by reference: oldest statement first."""
    rows = await connection.execute(
        select(payment_lines)
        .join(payment_statements, payment_statements.c.id == payment_lines.c.statement)
        .where(
            payment_lines.c.payment_ref.in_(references),
            payment_lines.c.kind == kind.value,
            payment_statements.c.gateway == gateway,
            payment_statements.c.superseded_by.is_(None),
        )
        .order_by(payment_lines.c.statement, payment_lines.c.line)
    )
    found: dict[str, list[Line]] = {}
    for row in rows:
        line = Line(row.line, kind, row.payment_ref, row.amount_minor, row.currency, row.at_ms)
        found.setdefault(row.payment_ref, []).append(line)
    return found
