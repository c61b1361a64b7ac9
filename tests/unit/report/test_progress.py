"""Progress: lines for pipes, a panel for terminals, and nothing of it on stdout with `--json`."""

from __future__ import annotations

import asyncio
import io
import sys
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from flashstock.client import Pool
from flashstock.model.states import PoolState
from flashstock.report import progress
from flashstock.report.progress import Lines, LivePanel, Rate, Snapshot, display_for, shown

STOCK = Pool("p", PoolState.OPEN, total=500, available=100, held=150, sold=250)
SNAPSHOT = Snapshot(
    title="flash sale",
    unit="requests",
    done=1_500,
    goal=20_000,
    rate=812.4,
    funnel={"held": 300, "confirmed": 250, "nothing_yet": 0},
    refused={"paused": 3, "sold_out": 1_000},
    stock=STOCK,
    note="nearly [there]",
)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_says_it_all():
    assert progress.line(SNAPSHOT) == (
        "flash sale: 1500/20000 requests · 812/s · available 100 held 150 sold 250 · held 300 · "
        "confirmed 250 · refused: sold_out 1000, paused 3 · nearly [there]"
    )


def test_the_panel_shows_the_stock_and_the_refusals():
    stream = io.StringIO()
    Console(file=stream, width=110).print(progress.panel(SNAPSHOT))
    text = stream.getvalue()
    for words in ("1,500/20,000", "sold 250", "held 150", "sold out", "1,000", "812/s"):
        assert words in text
    assert text.count("█") >= 30
    assert text.count("▓") == 18
    assert text.count("░") == 12


def test_lines_come_now_and_then_and_the_last_one_for_sure():
    stream, clock = io.StringIO(), Clock()
    lines = Lines(stream, clock)
    for second in range(6):
        clock.now = float(second)
        lines.show(SNAPSHOT)
    assert stream.getvalue().count("\n") == 3
    lines.close()
    assert stream.getvalue().count("\n") == 4
    lines.close()
    assert stream.getvalue().count("\n") == 4


def test_the_rate_is_that_of_the_last_second():
    clock = Clock()
    rate = Rate(clock)
    assert rate(0) == 0.0
    for step in range(1, 40):
        clock.now = step * 0.25
        rate(step * 100)
    assert rate(3_900) == pytest.approx(400.0)
    clock.now += 10.0
    assert rate(4_000) == 0.0
    clock.now += 0.5
    assert rate(4_100) == pytest.approx(200.0)
    assert rate(3) == 0.0, "another count begins"


@pytest.mark.parametrize(
    ("terminal", "json_output", "kind"),
    [(True, False, LivePanel), (True, True, Lines), (False, False, Lines)],
)
def test_stdout_is_drawn_on_only_where_it_is_a_terminal_and_free(
    monkeypatch, terminal, json_output, kind
):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdout", stream)
    display = display_for(json_output)
    display.close()
    assert type(display) is kind


@dataclass
class Display:
    seen: list[Snapshot] = field(default_factory=list)
    closed: bool = False

    def show(self, snapshot: Snapshot) -> None:
        self.seen.append(snapshot)

    def close(self) -> None:
        self.closed = True


async def look() -> Snapshot:
    return SNAPSHOT


async def test_the_last_look_is_shown_and_the_display_closed():
    display = Display()
    async with shown(display, look):
        pass
    assert display.seen[-1:] == [SNAPSHOT]
    assert display.closed


async def test_a_body_that_fails_closes_the_display_too():
    display = Display()
    with pytest.raises(KeyError):
        async with shown(display, look):
            raise KeyError
    assert display.closed


async def test_a_look_that_fails_is_not_swallowed():
    async def broken() -> Snapshot:
        raise ZeroDivisionError

    async def body() -> None:
        async with shown(Display(), broken):
            await asyncio.sleep(0)
            raise KeyError

    with pytest.raises(ZeroDivisionError):
        await body()
