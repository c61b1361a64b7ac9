"""A span for each call of the reserve script, linked to the requests that it decided."""

from __future__ import annotations

import time
from collections.abc import Sequence

from opentelemetry.trace import Link, SpanContext, SpanKind, Tracer, get_current_span

from flashstock.hotpath.asking import Asking
from flashstock.hotpath.lanes import Lanes, Observer
from flashstock.hotpath.replies import BatchReply
from flashstock.tracing.setup import NANOSECONDS


class TracedAsking:
    """A request that knows the span it was asked in."""

    __slots__ = ("_asking", "attests", "buyer", "context", "digest", "quantity", "wants")

    def __init__(self, asking: Asking, context: SpanContext) -> None:
        self._asking = asking
        self.context = context
        self.digest = asking.digest
        self.buyer = asking.buyer
        self.quantity = asking.quantity
        self.attests = asking.attests
        self.wants = getattr(asking, "wants", "")  # of seats alone

    def decided(self, verdict: int, batch: BatchReply, replay: bytes | None) -> None:
        """Hand it on."""
        self._asking.decided(verdict, batch, replay)

    def failed(self, failure: Exception) -> None:
        """Hand it on."""
        self._asking.failed(failure)


class TracedLanes(Lanes):
    """Lanes whose requests remember their spans, so that a batch can name them."""

    def ask(self, pool: str, asking: Asking) -> None:
        """As ``Lanes.ask``."""
        super().ask(pool, TracedAsking(asking, get_current_span().get_span_context()))


class TracedObserver:
    """Makes spans of what it observes, and tells the other observer."""

    def __init__(self, observer: Observer, tracer: Tracer) -> None:
        self._observer = observer
        self._tracer = tracer

    def decided(self, pool: str, batch: Sequence[Asking], seconds: float) -> None:
        """One call of the script, from sending it to its answer."""
        self._observer.decided(pool, batch, seconds)
        contexts = [one.context for one in batch if isinstance(one, TracedAsking)]
        links = [Link(context) for context in contexts if context.is_valid]
        self._record("reserve script", pool, seconds, links, {"flashstock.batch_size": len(batch)})

    def committed(self, pool: str, seconds: float) -> None:
        """The wait of one batch for SQL."""
        self._observer.committed(pool, seconds)
        self._record("wait for the commit", pool, seconds, [], {})

    def _record(
        self, name: str, pool: str, seconds: float, links: list[Link], attributes: dict[str, int]
    ) -> None:
        ended_at_ns = time.time_ns()
        span = self._tracer.start_span(
            name,
            kind=SpanKind.CLIENT,
            links=links,
            attributes={"flashstock.pool": pool, **attributes},
            start_time=ended_at_ns - int(seconds * NANOSECONDS),
        )
        span.end(ended_at_ns)
