"""An oversale that a final count can't see: too many units promised at the same moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Promise(NamedTuple):
    """Units that were certainly promised from ``start_ms`` until just before ``end_ms``.

    ``None`` as the end: promised until now.
    """

    start_ms: int
    end_ms: int | None
    quantity: int


def promised_at_once_max(promises: Iterable[Promise]) -> int:
    """The most units that were promised at one moment.

    More than the pool's total is an oversale, however the books look afterwards. Promises that
    end before they begin (their acknowledgement came late) are certain at no moment.
    """
    changes: list[tuple[int, int]] = []
    for promise in promises:
        if promise.end_ms is None:
            changes.append((promise.start_ms, promise.quantity))
        elif promise.end_ms > promise.start_ms:
            changes.append((promise.start_ms, promise.quantity))
            changes.append((promise.end_ms, -promise.quantity))
    # An end sorts before a start of the same millisecond: those units may be promised again.
    promised = promised_max = 0
    for _, change in sorted(changes):
        promised += change
        promised_max = max(promised_max, promised)
    return promised_max
