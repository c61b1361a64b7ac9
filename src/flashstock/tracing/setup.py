"""Starting what makes spans and sends them; set up by OpenTelemetry's own variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from flashstock import __version__
from flashstock.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

PROPAGATED: Final = (b"traceparent", b"tracestate")
NANOSECONDS: Final = 1_000_000_000


def start_tracing(process: str) -> Tracer:
    """Spans go to ``OTEL_EXPORTER_OTLP_ENDPOINT``, in the background and in batches; those that
    can't be sent are dropped. ``OTEL_TRACES_SAMPLER`` says how many are made.

    Args:
        process: which of ours this is.

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as problem:
        raise ConfigurationError(
            f"FLASHSTOCK_TRACING: {problem.name} is not installed; it comes with"
            " pip install 'flashstock[tracing]'"
        ) from problem
    resource = Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "flashstock"),
            "service.version": __version__,
            "service.instance.id": f"{process}-{os.getpid()}",
        }
    )
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("flashstock", __version__)


def context_of(headers: Mapping[bytes, bytes]) -> Context:
    """Whose part a request is, by the W3C headers; a new trace where there are none."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {
        name.decode(): headers[name].decode("latin-1") for name in PROPAGATED if name in headers
    }
    return TraceContextTextMapPropagator().extract(carrier)
