"""A span for each transaction of the writer."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from flashstock.ledger.apply import Applied, Cursor
from flashstock.model.events import LogEntry
from flashstock.writer.writer import WritableLedger


class TracedLedger:
    """What the writer needs of SQL, with a span around what it writes."""

    def __init__(self, ledger: WritableLedger, tracer: Tracer) -> None:
        self._ledger = ledger
        self._tracer = tracer

    async def cursor(self, shard: int) -> Cursor | None:
        """As the ledger's."""
        return await self._ledger.cursor(shard)

    async def keep_alive(self, cursor: Cursor, at_ms: int) -> bool:
        """As the ledger's."""
        return await self._ledger.keep_alive(cursor, at_ms)

    async def apply(self, cursor: Cursor, entries: Sequence[LogEntry]) -> Applied:
        """As the ledger's."""
        attributes = {
            "flashstock.shard": cursor.shard,
            "flashstock.generation": cursor.generation,
            "flashstock.seq.from": cursor.seq,
            "flashstock.entries": len(entries),
        }
        with self._tracer.start_as_current_span(
            "apply the log", kind=SpanKind.CONSUMER, attributes=attributes
        ) as span:
            applied = await self._ledger.apply(cursor, entries)
            span.set_attribute("flashstock.seq.to", applied.cursor.seq)
            if applied.quarantined:
                span.set_status(Status(StatusCode.ERROR, f"quarantined {applied.quarantined}"))
            return applied
