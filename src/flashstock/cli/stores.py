"""``flashstock reconcile`` and ``flashstock rebuild``: compare the stores, and mend Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flashstock.cli.auditing import on_record
from flashstock.cli.outcome import FAILED
from flashstock.cli.progress import progress
from flashstock.cli.settings import DataDir, settings_from

if TYPE_CHECKING:
    from flashstock.config import Settings

JsonOutput = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run/--apply", help="Only say what would be done, or do it.")
]
DIFFERENCES_SHOWN: Final = 20


def reconcile(
    repair: Annotated[
        bool, typer.Option("--repair", help="Bring Redis back to what SQL says.")
    ] = False,
    dry_run: DryRun = True,
    watch: Annotated[
        bool, typer.Option("--watch", help="Round after round, until interrupted.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, max=86_400.0, help="Seconds between two rounds of a watch.")
    ] = 15.0,
    exit_on_breach: Annotated[
        bool, typer.Option("--exit-on-breach", help="End a watch with 1 where one is found.")
    ] = False,
    json_output: JsonOutput = False,
    data_dir: DataDir = None,
) -> None:
    """Compare Redis with SQL and check every invariant. Ends with 1 where one is broken.

    Runs beside a running service, or on its stores while it is stopped.

        flashstock reconcile

        flashstock reconcile --json

        flashstock reconcile --repair             # what would be mended

        flashstock reconcile --repair --apply     # mend it

        flashstock reconcile --watch --interval 5 --exit-on-breach

    A watch reads a bounded piece each round and pauses the pools that are broken.
    """
    if watch:
        if repair:
            raise typer.BadParameter("--repair and --watch exclude each other")
        _watch(interval, exit_on_breach=exit_on_breach, json_output=json_output, data_dir=data_dir)
        return

    async def run(settings: Settings) -> dict[str, Any]:
        from flashstock import bootstrap

        with progress("reconciling") as tell:
            found = await bootstrap.reconcile(
                settings,
                repair=repair,
                dry_run=dry_run,
                on_page=lambda found: tell(
                    f"{found.pools_checked:,} pools,"
                    f" {found.reservations_checked:,} reservations compared"
                ),
            )
        if repair and not dry_run:
            await on_record(settings, "reconcile --repair", "stores")
        return found

    result = _on_stores(run, data_dir)
    _show(result, json_output)
    if not result.get("ok", True):
        raise typer.Exit(FAILED)


def _watch(
    interval_s: float, *, exit_on_breach: bool, json_output: bool, data_dir: Path | None
) -> None:
    async def run(settings: Settings) -> dict[str, Any]:
        from flashstock import bootstrap

        async with aclosing(bootstrap.watch(settings, interval_s)) as rounds:
            async for found in rounds:
                _show_round(found, json_output)
                if exit_on_breach and found["ok"] is False:
                    return found
        return {}

    try:
        _on_stores(run, data_dir)
    except KeyboardInterrupt:
        return
    raise typer.Exit(FAILED)


def _show_round(found: dict[str, Any], json_output: bool) -> None:
    """One line, at once: whoever reads may be a pipe."""
    if json_output:
        typer.echo(json.dumps(found, default=str))
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True)
    if found["ok"] is None:
        detail = escape(found["unavailable"])
        console.print(f"{found['at']} [yellow]away[/] {detail}", highlight=False)
        return
    verdict = "[green]ok[/]" if found["ok"] else "[red]BREACH[/]"
    broken = [name for name, holds in found["invariants"].items() if not holds]
    parts = [
        f"{found['pools_checked']} pools, {found['reservations_checked']} reservations",
        f"{found['differences_count']} differences, {found['lag_events']} events behind",
        *(f"broken: {name.replace('_', ' ')}" for name in broken),
        *(f"paused {row['pool']} ({row['reason']})" for row in found["paused"]),
    ]
    console.print(f"{found['at']} {verdict} " + escape("; ".join(parts)), highlight=False)


def rebuild(
    dry_run: DryRun = True,
    json_output: JsonOutput = False,
    data_dir: DataDir = None,
) -> None:
    """Build Redis anew from SQL, under a new generation. The service answers 503 meanwhile.

    flashstock rebuild             # what would be built

    flashstock rebuild --apply
    """

    async def run(settings: Settings) -> dict[str, Any]:
        from flashstock import bootstrap

        with progress("rebuilding"):
            report: dict[str, Any] = await bootstrap.rebuild(settings, dry_run=dry_run)
        if not dry_run:
            await on_record(settings, "rebuild", "stores")
        return report

    _show(_on_stores(run, data_dir), json_output)


def _on_stores(
    run: Callable[[Settings], Awaitable[dict[str, Any]]], data_dir: Path | None
) -> dict[str, Any]:
    """Run on the stores of the settings, their schema up to date."""

    async def prepared() -> dict[str, Any]:
        from flashstock.embedded.stores import running_stores
        from flashstock.ledger.migrate import upgrade
        from flashstock.supervisor.memory import settle_memory

        async with running_stores(settings_from(data_dir=data_dir)) as settings:
            await upgrade(settings.ledger_url)
            settle_memory()
            return await run(settings)

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(prepared())


def _show(result: dict[str, Any], json_output: bool) -> None:
    if json_output:
        typer.echo(json.dumps(result, default=str))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(show_header=False)
    nested = {name: value for name, value in result.items() if isinstance(value, list | dict)}
    for name, value in result.items():
        if name not in nested:
            table.add_row(name.replace("_", " "), str(value))
    console.print(table)
    for name, value in nested.items():
        if isinstance(value, dict):
            rows = [f"{part.replace('_', ' ')}: {held}" for part, held in value.items()]
        else:
            rows = [json.dumps(row, default=str) for row in value[:DIFFERENCES_SHOWN]]
            rows += ["…"] if len(value) > DIFFERENCES_SHOWN else []
        if rows:
            console.print(f"[bold]{name.replace('_', ' ')}[/]")
        for row in rows:
            console.print(f"  {row}", markup=False, highlight=False)
