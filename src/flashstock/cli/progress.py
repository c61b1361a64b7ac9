"""What a person sees while a command works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[str], None]


@contextmanager
def progress(doing: str) -> Iterator[Tell]:
    """A line on standard error that says what is done and how far it has come, with the time it
    took so far; gone at the end, and never there where standard error is no terminal.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(doing)
        yield lambda text: bar.update(task, description=f"{doing}: {text}")
