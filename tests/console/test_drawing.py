"""Numbers become words and coordinates, exactly."""

from __future__ import annotations

import pytest

from flashstock.console import charts
from flashstock.console.rendering import at, countdown, number, percent, rate, span


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "—"),
        (0, "0 ms"),
        (2.5, "2.5 ms"),
        (999, "999 ms"),
        (1_500, "1.5 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (125_000, "2 min 05 s"),
        (3_600_000, "1 h"),
        (3_660_000, "1 h 01 min"),
        (90_000_000, "1 d 01 h"),
    ],
)
def test_how_long_something_lasts(ms: float | None, text: str):
    assert span(ms) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0:00:00"),
        (1, "0:00:01"),
        (59_001, "0:01:00"),
        (86_399_000, "23:59:59"),
        (7_776_000_000, "2,160:00:00"),
    ],
)
def test_what_is_left_counts_down_to_the_second(ms, text):
    assert countdown(ms) == text


def test_numbers_have_separators_and_what_nobody_knows_is_a_dash():
    assert [number(1_234_567), number(0), number(None)] == ["1,234,567", "0", "—"]
    assert [percent(0.425), percent(None)] == ["42.5 %", "—"]
    assert [rate(1_234.5), rate(2.34), rate(0), rate(None)] == ["1,234", "2.3", "0", "—"]
    assert 'datetime="2026-11-22T03:57:18.974Z"' in at(1_795_319_838_974)
    assert "2026-11-22 03:57:18 UTC" in at(1_795_319_838_974)
    assert at(0) == "—"


def test_a_bar_is_as_long_as_its_parts():
    parts = charts.stacked_bar([("sold", 30), ("held", 0), ("available", 10)])
    assert [(part.name, part.x, part.width) for part in parts] == [
        ("sold", 0.0, 750.0),
        ("available", 750.0, 250.0),
    ]
    assert charts.stacked_bar([("sold", 0), ("held", 0)]) == []


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.3, 0.5), (1, 1), (3, 5), (51, 100), (100, 100), (1_001, 2_000)]
)
def test_a_scale_ends_at_a_round_number(value: float, top: float):
    assert charts.nice_top(value) == pytest.approx(top)


def test_lines_are_where_they_belong():
    drawn = charts.lines([0, 500, 1_000], [[0, 5, 10]], 1_000, 1_000)
    assert (drawn.top, drawn.points) == (10, ("0,100 500,50 1000,0",))
    assert charts.lines([], [[]], 1_000, 1_000).points == ("",)


def test_areas_stand_on_each_other():
    drawn = charts.stacked([0, 1_000], [[1, 1], [1, 3]], 1_000, 1_000)
    assert drawn.top == 4
    assert drawn.areas == ("0,75 1000,75 1000,100 0,100", "0,50 1000,0 1000,75 0,75")


def test_columns_grow_from_the_bottom():
    top, (column,) = charts.columns([(500, [("paid", 5), ("held", 5)])], 100, 1_000, 1_000)
    assert (top, column.x, column.width) == (10, 500.0, 80.0)
    assert column.pieces == (("paid", 50.0, 50.0), ("held", 0.0, 50.0))


def test_a_time_line_shows_what_is_near():
    moments = [(100, "opens"), (2_000, "a wave"), (99_000, "far")]
    line = charts.time_line(100, 2_500, moments, now_ms=1_000, span_ms=3_000)
    assert (line.start_x, line.width, line.now_x) == (33.33, 800.0, 333.33)
    assert [(mark.text, mark.is_past) for mark in line.marks] == [
        ("opens", True),
        ("a wave", False),
    ]
    endless = charts.time_line(0, 0, [], now_ms=1_000, span_ms=3_000)
    assert (endless.start_x, endless.width) == (0.0, 1_000.0)
