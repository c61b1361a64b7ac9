"""Wires tracing in where it is on. Off, nothing is imported and nothing is wrapped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flashstock.api.app import Application
from flashstock.config import Settings
from flashstock.hotpath.lanes import Lanes, Observer
from flashstock.writer.writer import WritableLedger

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from flashstock.tracing.requests import TracedApplication


def tracer_of(process: str, settings: Settings) -> Tracer | None:
    """What makes the spans of this process; ``None`` where tracing is off.

    Raises:
        ConfigurationError: it is on, and OpenTelemetry is not installed.
    """
    if not settings.tracing:
        return None
    from flashstock.tracing.setup import start_tracing

    return start_tracing(process)


def traced_lanes(observer: Observer, tracer: Tracer | None) -> tuple[type[Lanes], Observer]:
    """The class of lanes to make, and who observes them."""
    if tracer is None:
        return Lanes, observer
    from flashstock.tracing.batches import TracedLanes, TracedObserver

    return TracedLanes, TracedObserver(observer, tracer)


def traced_application(
    application: Application, tracer: Tracer | None
) -> Application | TracedApplication:
    """With a span for each request."""
    if tracer is None:
        return application
    from flashstock.tracing.requests import TracedApplication

    return TracedApplication(application, tracer)


def traced_ledger(ledger: WritableLedger, tracer: Tracer | None) -> WritableLedger:
    """With a span for each transaction of the writer."""
    if tracer is None:
        return ledger
    from flashstock.tracing.writing import TracedLedger

    return TracedLedger(ledger, tracer)
