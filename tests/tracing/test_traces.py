"""Traces of a real service, as they reach a real collector over HTTP."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from flashstock.bootstrap_tracing import tracer_of
from flashstock.config import Settings
from flashstock.errors import ConfigurationError
from tests.acceptance.processes import environment, eventually, open_pool, reserve, serving

pytestmark = pytest.mark.acceptance

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Collector:
    """Takes OTLP over HTTP, and remembers the spans."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.processes: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = ExportTraceServiceRequest()
                request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
                for resource in request.resource_spans:
                    told = {one.key: one.value.string_value for one in resource.resource.attributes}
                    collector.processes.add(told["service.instance.id"].rpartition("-")[0])
                    for scope in resource.scope_spans:
                        collector.spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *what: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def collector(tmp_path_factory) -> Iterator[Collector]:
    """Has what a service made of one reservation that came with a trace, and a look at a pool."""
    collector = Collector()
    settings = {
        "FLASHSTOCK_TRACING": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with (
        serving(tmp_path_factory.mktemp("traced") / "data", settings=settings) as service,
        service.client(headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}) as client,
    ):
        open_pool(client, "shirts")
        assert reserve(client, "one", "shirts").status_code == 201
        assert client.get("/v1/pools/nowhere").status_code == 404
        for name in ("POST /v1/reservations", "apply the log", "wait for the commit"):
            eventually(partial(collector.named, name), f"a span {name!r}")
        eventually(lambda: collector.named("GET /v1/pools/{pool}"), "the span of the look")
        eventually(lambda: collector.named("reserve script"), "the span of the script")
    yield collector
    collector.close()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def test_a_request_is_part_of_its_callers_trace(collector):
    (span,) = collector.named("POST /v1/reservations")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(span)["http.response.status_code"] == 201


def test_the_batch_that_decided_it_is_linked_to_it(collector):
    (request,) = collector.named("POST /v1/reservations")
    (script,) = collector.named("reserve script")
    assert [link.span_id for link in script.links] == [request.span_id]
    assert attributes(script)["flashstock.batch_size"] == 1
    assert attributes(script)["flashstock.pool"] == "shirts"
    assert script.start_time_unix_nano >= request.start_time_unix_nano
    assert script.end_time_unix_nano <= request.end_time_unix_nano


def test_other_routes_go_by_their_pattern_and_name_their_problem(collector):
    (span,) = collector.named("GET /v1/pools/{pool}")
    assert attributes(span)["flashstock.code"] == "unknown_pool"
    assert attributes(span)["http.response.status_code"] == 404


def test_the_writer_says_what_it_wrote(collector):
    written = [attributes(span) for span in collector.named("apply the log")]
    assert all(one["flashstock.seq.to"] > one["flashstock.seq.from"] for one in written)
    assert collector.processes == {"api-worker", "writer"}


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    exporter = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, exporter, None)
    with pytest.raises(ConfigurationError, match=r"pip install 'flashstock\[tracing\]'"):
        tracer_of("writer", Settings(tracing=True))


def test_off_nothing_of_it_is_loaded():
    """Not even imported, so it can cost nothing. (redis-py loads OpenTelemetry by itself.)"""
    program = (
        "import sys, flashstock.bootstrap\n"
        "from flashstock.bootstrap_tracing import traced_lanes\n"
        "from flashstock.hotpath.lanes import Lanes, Unobserved\n"
        "observer = Unobserved()\n"
        "assert traced_lanes(observer, None) == (Lanes, observer)\n"
        "print([name for name in sys.modules if name.startswith('flashstock.tracing')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
