"""``flashstock stats``: what became of requests, from the journal."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flashstock.cli.progress import progress
from flashstock.cli.settings import DataDir, settings_from

if TYPE_CHECKING:
    from flashstock.statistics.queries import Report, Statistics

POOLS_AT_ONCE = 500
Grains = Literal["minute", "hour", "day", "total"]
"""As ``statistics.queries.Grain``, which would load SQL for a help text."""
PIPE_WIDTH = 200
"""Nobody reads a pipe through a window."""


def stats(
    pool: Annotated[str | None, typer.Argument(help="One pool [default: all of them].")] = None,
    by: Annotated[Grains, typer.Option(help="Of one pool only, unless it is total.")] = "total",
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Throw the statistics away and fold them again.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show the funnel of each pool: held, paid, expired, cancelled, returned, and what is left.

    Folds what the journal has since, so it also works while the service is stopped.

        flashstock stats

        flashstock stats campaign-1 --by hour --json

        flashstock stats --recompute
    """
    from flashstock.errors import InvalidRequest
    from flashstock.statistics.queries import Grain

    if pool is None and by != "total":
        raise InvalidRequest("--by needs a POOL")
    result = asyncio.run(_load(settings_from(data_dir=data_dir), pool, Grain(by), recompute))
    if json_output:
        typer.echo(json.dumps(result))
    else:
        _show(result)


async def _load(settings: Any, pool: str | None, grain: Any, recompute: bool) -> dict[str, Any]:
    from flashstock.ledger.engine import create_engine
    from flashstock.ledger.migrate import upgrade
    from flashstock.statistics.folder import Folder
    from flashstock.statistics.queries import Statistics

    if settings.database_url is None:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    await upgrade(settings.ledger_url)
    engine = create_engine(settings.ledger_url)
    try:
        folder = Folder(engine, sleep=_no_pause)
        with progress("folding the journal"):
            folded = await (folder.recompute() if recompute else folder.catch_up())
        statistics = Statistics(engine)
        names = [pool] if pool is not None else await _all_pools(statistics)
        pools = []
        for name in names:
            report = await statistics.pool(name, 0, _FOR_EVER_MS, grain)
            pools.append({"pool": name, **_document(report)})
    finally:
        await engine.dispose()
    return {"folded_entries": folded, "recomputed": recompute, "pools": pools}


async def _no_pause(_: float) -> None:
    """Nobody else needs this event loop."""


_FOR_EVER_MS = 9_000_000_000_000


async def _all_pools(statistics: Statistics) -> list[str]:
    names: list[str] = []
    while page := await statistics.pools(names[-1] if names else "", POOLS_AT_ONCE):
        names += page
    return names


def _document(report: Report) -> dict[str, Any]:
    """As ``GET /v1/statistics/{pool}`` has it."""
    from flashstock.api.bodies import format_time
    from flashstock.api.routes.statistics import funnel_body, stock_body

    return {
        "total": funnel_body(report.total),
        "stock": stock_body(report.stock),
        "buckets": [
            {"at": format_time(bucket.at_ms), **funnel_body(bucket)} for bucket in report.buckets
        ],
    }


COLUMNS = (
    "requested",
    "refused",
    "held",
    "paid",
    "expired",
    "cancelled",
    "returned_units",
)


def _show(result: dict[str, Any]) -> None:
    import sys

    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    if not result["pools"]:
        console.print("no pool has statistics yet")
        return
    names = [name.replace("_units", "").replace("_", " ") for name in COLUMNS]
    buckets = any(pool["buckets"] for pool in result["pools"])
    table = Table(box=SIMPLE, padding=0)
    table.add_column("at" if buckets else "pool", no_wrap=True)
    for name in (*names, "p50 s", "p90 s", "sold", "left", "sell-through"):
        table.add_column(name, justify="right")
    for pool in result["pools"]:
        for bucket in pool["buckets"]:
            table.add_row(bucket["at"], *_cells(bucket), "", "", "")
        stock = pool["stock"]
        through = stock["sell_through"]
        share = "" if through is None else f"{through:.0%}"
        left = (str(stock["sold"]), str(stock["left"]), share)
        table.add_row(pool["pool"], *_cells(pool["total"]), *left)
    console.print(table)


def _cells(funnel: dict[str, Any]) -> list[str]:
    life = funnel["hold_life"]
    lives = (life["p50_ms"], life["p90_ms"])
    seconds = ("" if life_ms is None else f"{life_ms / 1_000:.1f}" for life_ms in lives)
    return [*(str(funnel[name]) for name in COLUMNS), *seconds]
