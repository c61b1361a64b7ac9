"""How long holds last, in buckets: percentiles without keeping every hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SUB_BITS: Final = 3
_SUBS: Final = 1 << _SUB_BITS
"""Buckets a doubling: each is an eighth of its octave wide, so a bucket's middle is at most 6.25 %
from any life in it."""


def bucket_of(life_ms: int) -> int:
    """The bucket of a life; lives below 8 ms have one each."""
    if life_ms < _SUBS:
        return max(0, life_ms)
    octave = life_ms.bit_length() - 1 - _SUB_BITS
    return _SUBS * (octave + 1) + ((life_ms >> octave) & (_SUBS - 1))


def middle_of(bucket: int) -> float:
    """The life in the middle of a bucket."""
    if bucket < _SUBS:
        return float(bucket)
    octave, sub = bucket // _SUBS - 1, bucket % _SUBS
    low = (_SUBS + sub) << octave
    return low + ((1 << octave) - 1) / 2


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """The life that ``share`` of all holds did not outlast, to 6.25 %; ``None`` of no holds."""
    total = sum(buckets.values())
    running = 0
    for bucket in sorted(buckets):
        running += buckets[bucket]
        if running >= share * total and running:
            return middle_of(bucket)
    return None
