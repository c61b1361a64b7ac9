"""What is shown while a run goes on: a live panel in a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flashstock.client import Pool

REFRESH_SECONDS: Final = 0.25
LINE_EVERY_SECONDS: Final = 2.0
BAR_WIDTH: Final = 60


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at a run.

    Args:
        done, goal: how far it is, in ``unit``s.
        rate: how many of them a second, lately.
        stock: the pool as the service shows it, where there is one to show.
        funnel: counts in the order in which they are shown.
        refused: refusals by code.
    """

    title: str
    unit: str
    done: int
    goal: int
    rate: float
    funnel: Mapping[str, int]
    refused: Mapping[str, int]
    stock: Pool | None = None
    note: str = ""


class Display(Protocol):
    """Shows snapshots until it is closed."""

    def show(self, snapshot: Snapshot) -> None: ...

    def close(self) -> None: ...


class LivePanel:
    """A panel that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, snapshot: Snapshot) -> None:
        self._live.update(panel(snapshot), refresh=True)

    def close(self) -> None:
        self._live.stop()


class Lines:
    """A line now and then, for logs and pipes."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._next = 0.0
        self._last = ""

    def show(self, snapshot: Snapshot) -> None:
        self._last = line(snapshot)
        if self._clock() >= self._next:
            self._next = self._clock() + LINE_EVERY_SECONDS
            self._write()

    def close(self) -> None:
        self._write()

    def _write(self) -> None:
        if self._last:
            self._stream.write(self._last + "\n")
            self._stream.flush()
            self._last = ""


def display_for(json_output: bool) -> Display:
    """The panel where standard output is a terminal and free for it, else lines on stderr."""
    if sys.stdout.isatty() and not json_output:
        return LivePanel(Console(markup=False))
    return Lines(sys.stderr)


@dataclass(slots=True)
class Rate:
    """Events a second over about the last second; a count that falls begins anew."""

    clock: Callable[[], float] = time.monotonic
    _seen: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, count: int) -> float:
        now = self.clock()
        if self._seen and count < self._seen[-1][1]:
            self._seen.clear()
        self._seen = [seen for seen in self._seen if seen[0] > now - 1.0][-20:]
        self._seen.append((now, count))
        (since, before) = self._seen[0]
        return (count - before) / (now - since) if now > since else 0.0


@asynccontextmanager
async def shown(display: Display, look: Callable[[], Awaitable[Snapshot]]) -> AsyncIterator[None]:
    """Show a run while the body goes on, and once more when it is done."""

    async def repeat() -> None:
        while True:
            display.show(await look())
            await asyncio.sleep(REFRESH_SECONDS)

    watching = asyncio.create_task(repeat())
    try:
        yield
        display.show(await look())
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        display.close()


def line(snapshot: Snapshot) -> str:
    """A snapshot as one line of text."""
    parts = [f"{snapshot.done}/{snapshot.goal} {snapshot.unit}", f"{snapshot.rate:.0f}/s"]
    if snapshot.stock is not None:
        stock = snapshot.stock
        parts.append(f"available {stock.available} held {stock.held} sold {stock.sold}")
    parts += [f"{name} {count}" for name, count in snapshot.funnel.items() if count]
    if snapshot.refused:
        refused = ", ".join(f"{code} {count}" for code, count in _largest_first(snapshot.refused))
        parts.append(f"refused: {refused}")
    if snapshot.note:
        parts.append(snapshot.note)
    return f"{snapshot.title}: " + " · ".join(parts)


def panel(snapshot: Snapshot) -> Panel:
    """A snapshot as a panel: progress, the stock, the funnel, the refusals."""
    body: list[RenderableType] = []
    progress = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, snapshot.goal), completed=snapshot.done, width=BAR_WIDTH)
    told = f"{snapshot.done:,}/{snapshot.goal:,} {snapshot.unit}  {snapshot.rate:,.0f}/s"
    progress.add_row(bar, Text(told))
    if snapshot.stock is not None:
        progress.add_row(stock_bar(snapshot.stock), Text.from_markup(_stock_words(snapshot.stock)))
    body.append(progress)
    columns = Table.grid(padding=(0, 6))
    columns.add_row(
        _counts("so far", list(snapshot.funnel.items())),
        _counts("refused", _largest_first(snapshot.refused)),
    )
    body += [Text(""), columns]
    return Panel(Group(*body), title=snapshot.title, subtitle=snapshot.note or None)


def stock_bar(stock: Pool) -> Text:
    """Sold, held and available units of a pool as one bar, in proportion."""
    total = max(1, stock.total)
    sold = round(BAR_WIDTH * stock.sold / total)
    held = round(BAR_WIDTH * (stock.sold + stock.held) / total) - sold
    text = Text("█" * sold, style="green")
    text.append("▓" * held, style="yellow")
    text.append("░" * (BAR_WIDTH - sold - held), style="dim")
    return text


def _stock_words(stock: Pool) -> str:
    return f"[green]sold {stock.sold}[/] [yellow]held {stock.held}[/] available {stock.available}"


def _counts(title: str, counts: list[tuple[str, int]]) -> Table:
    table = Table(box=None, show_header=True, pad_edge=False)
    table.add_column(title, style="bold")
    table.add_column("", justify="right")
    for name, count in counts:
        table.add_row(name.replace("_", " "), f"{count:,}")
    return table


def _largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
