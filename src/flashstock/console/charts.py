"""The geometry of the drawings: numbers in, coordinates out. Pure.

Drawings are stretched to the width they get, so they hold no text and no circle: labels stand
beside them, and lines keep their width by CSS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 1_000
HEIGHT: Final = 100
_ROUND: Final = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a bar: ``x`` and ``width`` in drawing units."""

    name: str
    value: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines over time on one scale: ``top`` is the value at the upper edge."""

    top: float
    points: tuple[str, ...]
    areas: tuple[str, ...]


def stacked_bar(parts: Sequence[tuple[str, int]]) -> list[Part]:
    """Pieces side by side, in the order given; nothing where all are 0."""
    total = sum(max(0, value) for _, value in parts)
    placed = []
    x = 0.0
    for name, value in parts:
        if value > 0 and total:
            width = WIDTH * value / total
            placed.append(Part(name, value, round(x, 2), round(width, 2)))
            x += width
    return placed


def nice_top(value: float) -> float:
    """The next round number that is not below ``value``."""
    if value <= 0:
        return 1.0
    magnitude = 1.0
    while magnitude * 10 <= value:
        magnitude *= 10
    while magnitude > value:
        magnitude /= 10
    return next(step * magnitude for step in _ROUND if step * magnitude >= value)


def lines(
    times_ms: Sequence[int], series: Sequence[Sequence[float]], span_ms: int, until_ms: int
) -> Lines:
    """Lines of the last ``span_ms`` before ``until_ms``, on a common scale from 0."""
    top = nice_top(max((value for values in series for value in values), default=0.0))
    xs = [_x(at_ms, until_ms - span_ms, span_ms) for at_ms in times_ms]
    points = tuple(_points(xs, values, top) for values in series)
    return Lines(top, points, ())


def stacked(
    times_ms: Sequence[int], series: Sequence[Sequence[float]], span_ms: int, until_ms: int
) -> Lines:
    """Areas on top of each other, the first one at the bottom."""
    if not times_ms:
        return Lines(1.0, (), ())
    sums = [sum(values) for values in zip(*series, strict=True)]
    top = max(1.0, max(sums, default=0.0))
    xs = [_x(at_ms, until_ms - span_ms, span_ms) for at_ms in times_ms]
    below = [0.0] * len(xs)
    areas = []
    for values in series:
        above = [low + value for low, value in zip(below, values, strict=True)]
        upper = _points(xs, above, top)
        lower = _points(xs[::-1], below[::-1], top)
        areas.append(f"{upper} {lower}")
        below = above
    return Lines(top, (), tuple(areas))


@dataclass(frozen=True, slots=True)
class Column:
    """One upright bar of several pieces: (name, y, height) from the bottom up."""

    at_ms: int
    x: float
    width: float
    pieces: tuple[tuple[str, float, float], ...]


def columns(
    rows: Sequence[tuple[int, Sequence[tuple[str, int]]]], step_ms: int, span_ms: int, until_ms: int
) -> tuple[float, list[Column]]:
    """(value at the upper edge, a bar for each step of time that has one)."""
    top = nice_top(max((sum(v for _, v in pieces) for _, pieces in rows), default=0))
    width = WIDTH * step_ms / span_ms
    found = []
    for at_ms, pieces in rows:
        y = float(HEIGHT)
        placed = []
        for name, value in pieces:
            height = HEIGHT * value / top
            y -= height
            placed.append((name, round(y, 2), round(height, 2)))
        x = _x(at_ms, until_ms - span_ms, span_ms)
        found.append(Column(at_ms, x, round(width * 0.8, 2), tuple(placed)))
    return top, found


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment on a time line."""

    x: float
    at_ms: int
    text: str
    is_past: bool


@dataclass(frozen=True, slots=True)
class TimeLine:
    """From ``from_ms`` to ``until_ms``; ``x``s in drawing units."""

    from_ms: int
    until_ms: int
    start_x: float
    width: float
    now_x: float
    marks: tuple[Mark, ...]


def time_line(
    starts_ms: int, ends_ms: int, moments: Sequence[tuple[int, str]], now_ms: int, span_ms: int
) -> TimeLine:
    """A sale and its moments around now. 0 for ``starts_ms`` or ``ends_ms``: no such bound."""
    from_ms, until_ms = now_ms - span_ms // 3, now_ms + 2 * span_ms // 3
    start = max(from_ms, starts_ms or from_ms)
    end = min(until_ms, ends_ms or until_ms)
    start_x, end_x = _x(start, from_ms, span_ms), _x(max(start, end), from_ms, span_ms)
    marks = tuple(
        Mark(_x(at_ms, from_ms, span_ms), at_ms, text, at_ms <= now_ms)
        for at_ms, text in moments
        if from_ms <= at_ms <= until_ms
    )
    return TimeLine(
        from_ms,
        until_ms,
        start_x,
        round(max(0.0, end_x - start_x), 2),
        _x(now_ms, from_ms, span_ms),
        marks,
    )


def _x(at_ms: int, from_ms: int, span_ms: int) -> float:
    return round(min(WIDTH, max(0.0, WIDTH * (at_ms - from_ms) / span_ms)), 2)


def _points(xs: Sequence[float], values: Sequence[float], top: float) -> str:
    return " ".join(
        f"{x:g},{round(HEIGHT * (1 - value / top), 2):g}"
        for x, value in zip(xs, values, strict=True)
    )
