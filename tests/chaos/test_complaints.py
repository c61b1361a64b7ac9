"""After a violation the campaign shows every traceback of the service, and no small talk."""

from __future__ import annotations

import logging

from flashstock.supervisor.logs import JsonFormatter
from tests.chaos.complaints import SHOWN_LINES, complaints


def logged(level: int, message: str, failure: Exception | None = None) -> str:
    info = None if failure is None else (type(failure), failure, failure.__traceback__)
    record = logging.LogRecord("flashstock.api", level, __file__, 1, message, (), info)
    return JsonFormatter("api-worker").format(record)


def raised() -> Exception:
    try:
        raise RuntimeError("the handler is closed")
    except RuntimeError as failure:
        return failure


def test_errors_and_tracebacks_are_shown_and_the_rest_is_not():
    lines = [
        logged(logging.INFO, "shard 0 is open"),
        logged(logging.ERROR, "a lean route failed", raised()),
        logged(logging.WARNING, "retrying"),
        logged(logging.WARNING, "not as it should be", raised()),
    ]
    shown = complaints("\n".join(lines))
    assert sum("RuntimeError: the handler is closed" in line for line in shown) == 2
    assert sum("a lean route failed" in line for line in shown) == 1
    assert not any("shard 0 is open" in line or "retrying" in line for line in shown)


def test_what_a_process_printed_without_a_logger_is_shown():
    assert complaints("Fatal Python error: Aborted\n\n[1, 2]") == [
        "Fatal Python error: Aborted",
        "",
        "[1, 2]",
    ]


def test_the_last_are_kept_where_there_are_too_many():
    lines = [logged(logging.ERROR, f"number {n}") for n in range(SHOWN_LINES + 1)]
    shown = complaints("\n".join(lines))
    assert len(shown) == SHOWN_LINES
    assert shown[-1].endswith(f"number {SHOWN_LINES}")
