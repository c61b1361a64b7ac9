"""``flashstock doctor``: is everything set up so that the promises can be kept?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flashstock.cli.outcome import FAILED
from flashstock.cli.progress import progress
from flashstock.cli.settings import DataDir, settings_from

if TYPE_CHECKING:
    from flashstock.config import Settings
    from flashstock.doctor.findings import Finding

STYLES: Final = {
    "ok": "[green]ok[/]",
    "note": "[cyan]note[/]",
    "warning": "[yellow]warning[/]",
    "problem": "[bold red]problem[/]",
}


def doctor(
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 1 for a warning, too.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Examine settings, stores, clocks and shards, and say what each finding means.

    Changes nothing. Looks at the stores of the settings, or at those of the 'flashstock serve' that
    runs on the data directory. Ends with 1 where there is a problem.

        flashstock doctor

        flashstock doctor --strict --json
    """
    from flashstock.doctor.findings import Level, worst

    findings = asyncio.run(_examined(settings_from(data_dir=data_dir)))
    level = worst(findings)
    if json_output:
        document = {"level": level.value, "findings": [one.document() for one in findings]}
        typer.echo(json.dumps(document))
    else:
        _show(findings)
    if level is Level.PROBLEM or (strict and level is Level.WARNING):
        raise typer.Exit(FAILED)


async def _examined(settings: Settings) -> list[Finding]:
    from flashstock.doctor.examination import examine

    findings = []
    with progress("examining") as tell:
        async for finding in examine(settings):
            tell(f"{finding.check} done")
            findings.append(finding)
    return findings


def _show(findings: Iterable[Finding]) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in findings:
        table.add_row(STYLES[one.level.value], escape(one.check), escape(one.found))
        for name, text in (("means", one.means), ("do", one.advice)):
            if text:
                table.add_row("", f"[dim]{name}[/]", f"[dim]{escape(text)}[/]")
    console = Console()
    console.print(table, highlight=False)
    counts = Counter(one.level.value for one in findings)
    parts = [f"{count} {STYLES[level]}" for level in STYLES if (count := counts[level])]
    console.print(", ".join(parts), highlight=False)
