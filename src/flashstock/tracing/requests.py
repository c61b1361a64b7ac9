"""A span for each request, on both ways that a request may come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, use_span

from flashstock.api.app import Application
from flashstock.api.asgi import Message, Receive, Scope, Send
from flashstock.api.handlers import PROBLEM_CODE
from flashstock.api.lean import LeanAnswer, LeanHandler, Respond
from flashstock.tracing.setup import context_of


class TracedApplication:
    """The application with a span around each request, also around those that come past ASGI."""

    def __init__(self, application: Application, tracer: Tracer) -> None:
        self._application = application
        self._tracer = tracer
        self.turnstile = application.turnstile
        self.turnstile.handlers = {
            path: _traced(tracer, path, handler)
            for path, handler in application.turnstile.handlers.items()
        }

    def drain(self) -> None:
        """As the application's."""
        self._application.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the lifespan."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        method: str = scope["method"]
        headers = dict(scope["headers"])
        with _span(self._tracer, method, scope["path"], headers) as span:

            async def send_noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note_status(span, message["status"])
                await send(message)

            await self._application(scope, receive, send_noted)
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            if code := scope.get(PROBLEM_CODE):
                span.set_attribute("flashstock.code", code)


def _traced(tracer: Tracer, path: str, handler: LeanHandler) -> LeanHandler:
    def traced(headers: Mapping[bytes, bytes], body: bytes, respond: Respond) -> None:
        span = tracer.start_span(
            f"POST {path}",
            context=context_of(headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": "POST", "http.route": path, "url.path": path},
        )

        def noted(answer: LeanAnswer) -> None:
            _note_status(span, answer.status)
            if answer.code:
                span.set_attribute("flashstock.code", answer.code)
            span.end()
            respond(answer)

        with use_span(span):
            handler(headers, body, noted)

    return traced


def _span(tracer: Tracer, method: str, path: str, headers: Mapping[bytes, bytes]) -> Any:
    return tracer.start_as_current_span(
        method,
        context=context_of(headers),
        kind=SpanKind.SERVER,
        attributes={"http.request.method": method, "url.path": path},
    )


def _note_status(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))
