"""``python -m bench.curves``: take the curves, tell about them, keep them as JSON and a picture."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from bench import environment
from bench.curves import engine_curves, group_curves, outage_curves, service_curves, start_curves
from bench.curves.curve import QUICK, Curve, Panel, Row, Setting, Sizes, up_to
from bench.curves.drawing import draw
from bench.options import RESULTS, SMOKE, Options
from bench.reporting import figure
from bench.stores import postgres

FAILED: Final = 1
PICTURES: Final = Path(__file__).resolve().parents[2] / "docs" / "images"
"""Where the pictures of reference runs are for readers, one for each curve."""

_SERVER_US: Final = "µs of Valkey per reservation"
_LATENCY: Final = "latency at a fixed rate (ms)"
_SATURATED: Final = "most reservations a second"
CURVES: Final[dict[str, Curve]] = {
    one.name: one
    for one in (
        Curve(
            "engine-pools",
            "Scripts: more pools",
            engine_curves.pools,
            (Panel(f"Scripts: {_SERVER_US}", "pools", ("one_a_call_us", "batches_us")),),
        ),
        Curve(
            "engine-holds",
            "Scripts: more live holds",
            engine_curves.holds,
            (
                Panel(f"Scripts: {_SERVER_US}", "live_holds", ("reserve_us",), each="items_a_call"),
                Panel(
                    "Sweep: µs per expired hold", "live_holds", ("sweep_us",), each="items_a_call"
                ),
            ),
        ),
        Curve(
            "engine-groups",
            "Scripts: more open groups in a pool",
            group_curves.groups,
            (
                Panel(
                    "Groups: µs of Valkey per seat",
                    "open_groups",
                    ("join_few_us", "join_any_us", "match_us", "open_us", "pay_us"),
                ),
                Panel("Groups: µs of Valkey per page of 20", "open_groups", ("list_us",)),
            ),
        ),
        Curve(
            "engine-shards",
            "Scripts: more shards in one Valkey",
            engine_curves.shards,
            (Panel(f"Scripts: {_SERVER_US}", "shards", ("batches_us",)),),
        ),
        Curve(
            "memory",
            "Valkey memory for each hold",
            engine_curves.memory,
            (
                Panel(
                    "Valkey bytes per live hold, log apart",
                    "holds",
                    ("live_bytes",),
                    each="items_a_call",
                ),
                Panel("Valkey bytes per ended hold", "holds", ("expired_bytes", "confirmed_bytes")),
            ),
        ),
        Curve(
            "pools",
            "Service: more pools",
            service_curves.pools,
            (
                Panel(f"Pools: {_LATENCY}", "pools", ("p50_ms", "p99_ms")),
                Panel(f"Pools: {_SATURATED}", "pools", ("saturated_rps",)),
            ),
        ),
        Curve(
            "shards",
            "Service: more shards",
            service_curves.shards,
            (
                Panel(f"Shards: {_LATENCY}", "shards", ("p50_ms", "p99_ms")),
                Panel(f"Shards: {_SATURATED}", "shards", ("saturated_rps",)),
            ),
        ),
        Curve(
            "workers",
            "Service: more API workers",
            service_curves.workers,
            (
                Panel(f"Workers: {_LATENCY}", "workers", ("p50_ms", "p99_ms")),
                Panel(f"Workers: {_SATURATED}", "workers", ("saturated_rps",)),
            ),
        ),
        Curve(
            "holds",
            "Service: more live holds",
            service_curves.holds,
            (
                Panel(f"Holds: {_LATENCY}", "live_holds", ("p50_ms", "p99_ms")),
                Panel(
                    "From deadline to available (ms)",
                    "live_holds",
                    ("expiry_lag_p50_ms", "expiry_lag_p99_ms"),
                ),
                Panel(
                    "Proof and rebuild (s)",
                    "live_holds",
                    ("reconcile_seconds", "rebuild_seconds"),
                    log_y=True,
                ),
                Panel("Rebuild: peak memory (MB)", "live_holds", ("rebuild_peak_mb",)),
            ),
        ),
        Curve(
            "starts",
            "Start of the embedded service",
            start_curves.starts,
            (Panel("Seconds until ready", "start", ("seconds",)),),
        ),
        Curve(
            "outages",
            "Valkey killed under a crowd",
            outage_curves.outages,
            (
                Panel(
                    "Killed Valkey (s)",
                    "kill",
                    (
                        "valkey_away_seconds",
                        "until_first_served_seconds",
                        "until_last_503_seconds",
                    ),
                ),
            ),
        ),
    )
}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.curves",
        description="How cost grows with pools, holds, shards and workers. Ends with 1 if the books"
        " of a service did not balance.",
    )
    parser.add_argument("--only", type=_names, default=tuple(CURVES), help=", ".join(CURVES))
    parser.add_argument("--quick", action="store_true", help="tiny: does everything still run?")
    parser.add_argument("--rate", type=float, help=f"of the open loads; default {Sizes.rate:g}")
    parser.add_argument("--server", choices=("uvicorn", "granian"), default="uvicorn")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, only")
    parser.add_argument("--most", type=int, help="leave out the sizes above this")
    parser.add_argument("--reference", action="store_true", help="keep a picture of each in docs")
    return parser.parse_args(arguments)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in CURVES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown} are none of {list(CURVES)}")
    return names


def take(
    setting: Setting, names: tuple[str, ...], console: Console
) -> tuple[dict[str, list[Row]], str]:
    """All rows by curve, and why it ended early, if it did."""
    taken: dict[str, list[Row]] = {}
    for name in names:
        rows = taken.setdefault(name, [])
        console.print(CURVES[name].title, style="bold")
        try:
            for row in CURVES[name].take(setting):
                rows.append(row)
                shown = (f"{key} {_shown(value)}" for key, value in row.items())
                console.print("  " + " · ".join(shown), highlight=False)
        except (RuntimeError, httpx.HTTPError) as problem:
            notes = getattr(problem, "__notes__", [])
            return taken, "\n".join([f"{name}: {type(problem).__name__}: {problem}", *notes])
    return taken, ""


def _shown(value: float | str | None) -> str:
    if value is None:
        return "-"
    return figure(value) if isinstance(value, float) else str(value)


def print_tables(console: Console, taken: dict[str, list[Row]]) -> None:
    for name, rows in taken.items():
        if not rows:
            continue
        table = Table(title=CURVES[name].title, show_header=False)
        for column in rows[0]:
            table.add_row(column, *(_shown(row[column]) for row in rows))
        console.print(table)


def save(
    document: dict[str, Any], taken: dict[str, list[Row]], *, quick: bool, reference: bool
) -> Path:
    """Write the JSON and the picture of all, and of reference runs one each; the JSON's path."""
    described = document["environment"]
    at = described["at"].replace(":", "-").removesuffix("+00-00")
    stem = "curves-quick" if quick else f"curves-{at}-{described['commit']}"
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{stem}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    drawn = {name: rows for name, rows in taken.items() if rows}
    subtitle = (
        f"{described['commit']} · {described['cpu_count']} cores,"
        f" {described['busy_before']:.0%} busy before · {described['at']}"
    )
    if drawn:
        draw(drawn, CURVES.values(), subtitle, path.with_suffix(".png"))
    if reference:
        PICTURES.mkdir(exist_ok=True)
        for name, rows in drawn.items():
            draw({name: rows}, [CURVES[name]], subtitle, PICTURES / f"curve-{name}.svg")
    return path


def main() -> int:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    given = parse(sys.argv[1:])
    sizes = QUICK if given.quick else Sizes()
    changes = {"rate": given.rate} if given.rate else {}
    sizes = up_to(Sizes(**{**asdict(sizes), **changes}), given.most)
    base = asdict(SMOKE if given.quick else Options())
    options = Options(**{**base, "server": given.server, "smoke": False})
    console = Console(stderr=True)
    with (
        postgres(options.connections) as database,
        tempfile.TemporaryDirectory(prefix="flashstock-bench-") as directory,
    ):
        described = environment.describe(database)
        for line in environment.warnings(described):
            console.print(f"note: {line}", style="yellow", highlight=False)
        setting = Setting(options, sizes, Path(directory), database)
        taken, failure = take(setting, given.only, console)
    document = {
        "failure": failure,
        "environment": described,
        "sizes": asdict(sizes),
        "curves": {
            name: {"title": CURVES[name].title, "rows": rows} for name, rows in taken.items()
        },
    }
    path = save(document, taken, quick=given.quick, reference=given.reference)
    print_tables(console if given.json else Console(), taken)
    console.print(f"kept in {path}")
    if failure:
        console.print(failure, style="red", markup=False)
    if given.json:
        print(json.dumps(document))
    return FAILED if failure else 0


if __name__ == "__main__":
    sys.exit(main())
