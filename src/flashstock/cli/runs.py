"""``flashstock demo``, ``replay`` and ``bench``: the whole service, put to work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from flashstock.errors import ConfigurationError

JsonOutput = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout, and nothing else there.")
]
Stay = Annotated[
    bool, typer.Option("--stay", help="Stay up afterwards, to look around, until Ctrl-C.")
]
Keep = Annotated[bool, typer.Option("--keep", help="Leave its service running afterwards.")]
OwnDataDir = Annotated[
    Path | None, typer.Option(help="Where its service keeps its stores [default: temporary].")
]
OwnPort = Annotated[int, typer.Option(help="Port of its service; 0 takes any.")]


def demo(
    scenario: Annotated[
        str, typer.Option(help="flash-sale, or group-buy: groups that form and fail.")
    ] = "flash-sale",
    units: Annotated[int, typer.Option(help="Units in the sale.")] = 500,
    buyers: Annotated[int, typer.Option(help="People who want them.")] = 5_000,
    requests: Annotated[int, typer.Option(help="Requests they send.")] = 20_000,
    per_buyer_limit: Annotated[int, typer.Option(help="Units one buyer may have.")] = 2,
    hold_seconds: Annotated[int, typer.Option(help="How long a hold lasts unpaid.")] = 3,
    concurrency: Annotated[int, typer.Option(help="Requests under way at once.")] = 256,
    seed: Annotated[int, typer.Option(help="The same seed, the same crowd.")] = 1,
    json_output: JsonOutput = False,
    keep: Keep = False,
    stay: Stay = False,
    data_dir: OwnDataDir = None,
    port: OwnPort = 0,
) -> None:
    """Open a flash sale on a service of its own, let a crowd at it, and prove the result.

    Needs nothing installed. Ends with 0 only if every invariant held.

        flashstock demo

        flashstock demo --stay

        flashstock demo --json --seed 7

        flashstock demo --scenario group-buy
    """
    from flashstock.demo import DemoOptions, Scenario, run_demo

    if scenario not in list(Scenario):
        raise ConfigurationError(f"scenario must be one of {', '.join(Scenario)}, not {scenario}")
    options = DemoOptions(
        units=units,
        buyers=buyers,
        requests=requests,
        seed=seed,
        per_buyer_limit=per_buyer_limit,
        hold_seconds=hold_seconds,
        concurrency=concurrency,
        json_output=json_output,
        keep=keep,
        stay=stay,
        data_dir=data_dir,
        port=port,
        scenario=Scenario(scenario),
    )
    raise typer.Exit(run_demo(options))


def replay(
    file: Annotated[Path, typer.Argument(help="A trading day as CSV.")],
    speed: Annotated[
        float, typer.Option(help="60 plays a minute in a second; 0 does not wait.")
    ] = 0.0,
    stock_ratio: Annotated[
        float, typer.Option(help="Stock of each SKU as a share of the day's demand.")
    ] = 0.8,
    confirm: Annotated[
        bool, typer.Option("--confirm/--hold-only", help="Pay every cart, or leave it held.")
    ] = True,
    concurrency: Annotated[int, typer.Option(help="Requests under way at once.")] = 32,
    json_output: JsonOutput = False,
    url: Annotated[
        str | None, typer.Option(help="A service that runs [default: one of its own].")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="FLASHSTOCK_API_KEY", help="For --url; it must be an admin's."),
    ] = None,
    keep: Keep = False,
    data_dir: OwnDataDir = None,
    port: OwnPort = 0,
) -> None:
    """Send a real trading day through the real service: every invoice is a cart, all or nothing.

    Its stock is received, set aside by campaigns, sold, sent and taken back, and proved at the end.

    Stock is a share of the day's demand, so some must fail; returns return; what can't be sold
    is counted with its reason. Ends with 0 only if every invariant held.

        flashstock replay online-retail-2011-12-05.csv

        flashstock replay day.csv --stock-ratio 0.5 --speed 600 --json
    """
    from flashstock.replay import ReplayOptions, run_replay

    options = ReplayOptions(
        file=file,
        speed=speed,
        stock_ratio=stock_ratio,
        json_output=json_output,
        url=url,
        api_key=api_key,
        data_dir=data_dir,
        port=port,
        keep=keep,
        confirm=confirm,
        concurrency=concurrency,
    )
    raise typer.Exit(run_replay(options))


def bench(context: typer.Context) -> None:
    """Measure against a no-op endpoint and against what a user would write.

    Part of a checkout, not of the installed package. Every flag goes to it.

        flashstock bench --smoke
    """
    checkout = Path(__file__).resolve().parents[3]
    if not (checkout / "bench" / "__main__.py").is_file():
        raise ConfigurationError("the benchmarks need a checkout of flashstock: 'make bench' there")
    command = [sys.executable, "-m", "bench", *context.args]
    raise typer.Exit(subprocess.run(command, cwd=checkout, check=False).returncode)
