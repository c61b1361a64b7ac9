"""Logs go to standard error: lines for a person at a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

from flashstock.api.request_ids import RequestIdFilter

_STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",  # uvicorn's own, the message once more with escape codes
}


class JsonFormatter(logging.Formatter):
    """``{"at", "level", "process", "pid", "logger", "message", …extra, "exception"?}``.

    What a request was the cause of has its ``request_id``.
    """

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self._process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process_name,
            "pid": os.getpid(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = vars(record).keys() - _STANDARD_ATTRIBUTES
        entry |= {name: vars(record)[name] for name in sorted(extra)}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def configure_logging(process_name: str, level: str) -> None:
    """Send every logger of this process to standard error, in the form that fits it."""
    handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        form = f"%(asctime)s.%(msecs)03d %(levelname)-7s {process_name}: %(message)s"
        handler.setFormatter(logging.Formatter(form, datefmt="%H:%M:%S"))
    else:
        handler.setFormatter(JsonFormatter(process_name))
    handler.addFilter(RequestIdFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("alembic", "uvicorn", "_granian", "granian"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.root.level))
