"""What the processes of a campaign complained of: the first thing to read after a violation."""

from __future__ import annotations

import json
from collections.abc import Iterator

SHOWN_LINES = 400
_SERIOUS = ("error", "critical")


def complaints(log: str) -> list[str]:
    """Of a log of JSON lines: errors, everything with a traceback, and what is no JSON.

    A traceback is shown as Python prints it. Of more than ``SHOWN_LINES`` lines the last ones.
    """
    return [line for entry in log.splitlines() for line in _complaint(entry)][-SHOWN_LINES:]


def _complaint(line: str) -> Iterator[str]:
    try:
        entry = json.loads(line)
        serious = entry["level"] in _SERIOUS or "exception" in entry
    except (ValueError, TypeError, LookupError):
        yield line  # a process that died without a logger
        return
    if serious:
        yield f"{entry['at']} {entry['process']} {entry['pid']} {entry['logger']}: " + str(
            entry["message"]
        )
        yield from str(entry.get("exception", "")).splitlines()
