"""How a process that has started takes care of its memory."""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS_MAX: Final = 20_000
"""Requests in flight and pages of rows are not garbage: at Python's 700 the collector walks them
several times each, and paths without reference cycles leave it nothing to find."""


def settle_memory() -> None:
    """What start-up allocated stays for good: the collector need not walk it ever again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, *gc.get_threshold()[1:])
