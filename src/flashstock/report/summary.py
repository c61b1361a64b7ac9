"""The end of a run, printed: a table for people, or one JSON object for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final, TextIO

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flashstock.report.outcome import Outcome

DESCRIBED_MAX: Final = 20


def print_outcome(
    outcome: Outcome,
    funnel: Mapping[str, int],
    *,
    json_output: bool,
    stream: TextIO | None = None,
) -> int:
    """Print, and return the exit status: 0 where every invariant held, else 1.

    With ``json_output`` exactly one JSON object and a line end go to the stream.
    """
    stream = stream or sys.stdout
    if json_output:
        stream.write(orjson.dumps(outcome.document()).decode() + "\n")
        stream.flush()
    else:
        _print_tables(outcome, funnel, Console(file=stream, markup=False, highlight=False))
    return 0 if outcome.ok else 1


def _print_tables(outcome: Outcome, funnel: Mapping[str, int], console: Console) -> None:
    console.print(Text(outcome.title, style="bold"))
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("service", outcome.address)
    table.add_row("requests", f"{outcome.requests:,} in {outcome.seconds:.1f} s")
    table.add_row(
        "throughput", f"{outcome.throughput_rps:,.0f} requests/s in {outcome.throughput_of}"
    )
    p50, p99 = outcome.latency_ms["p50"], outcome.latency_ms["p99"]
    table.add_row("latency", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    for name, count in funnel.items():
        table.add_row(name, f"{count:,}")
    for code, count in sorted(outcome.refused.items(), key=lambda pair: -pair[1]):
        table.add_row(f"refused: {code}", f"{count:,}")
    console.print(table)
    console.print()
    console.print(_proof(outcome))
    for text in outcome.described[:DESCRIBED_MAX]:
        console.print(Text(f"  {text}", style="red"))
    counts = f"oversold {outcome.oversold}, lost {outcome.lost}, differences {outcome.differences}"
    verdict = f"{counts}: {'every invariant held' if outcome.ok else 'an invariant is broken'}"
    console.print(Text(verdict, style="bold green" if outcome.ok else "bold red"))


def _proof(outcome: Outcome) -> Table:
    """The service's reconciliation and the check from outside, side by side."""
    service, ours = outcome.reconciliation, outcome.findings
    table = Table(title="reconciliation", box=None, title_justify="left")
    table.add_column("")
    table.add_column("by the service", justify="right")
    table.add_column("by what was acknowledged", justify="right")
    seen = max(ours.oversold, outcome.oversold_seen)
    differences = ours.differences + len(outcome.broken_promises)
    table.add_row("oversold", str(service.oversold), str(seen))
    table.add_row("lost", str(service.lost), str(ours.lost))
    table.add_row("differences", str(service.differences_count), str(differences))
    table.add_row("pools checked", str(service.pools_checked), str(ours.pools_checked))
    table.add_row(
        "reservations checked", str(service.reservations_checked), str(ours.reservations_checked)
    )
    if outcome.identity is not None:
        words = "holds" if outcome.identity.ok else "is broken"
        table.add_row("stock identity", words, "")
    return table
