"""The commands, their flags and their help texts; what they do stands elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from flashstock import __version__
from flashstock.cli import campaigns, doctor, keys, runs, stats, stores
from flashstock.cli.outcome import FAILED, Invocation, report
from flashstock.cli.settings import DataDir, settings_from

RUN: Final = "Run it"
LOOK: Final = "Look at it"
CHANGE: Final = "Change it"
TRY: Final = "Try it"

app = typer.Typer(
    name="flashstock",
    help="Flash-sale reservations that never oversell and never forget.",
    epilog=(
        "Settings are FLASHSTOCK_* environment variables; a flag wins over its variable. Exit"
        " status: 0 it worked, 1 it ran and the answer is no, 2 it could not be done as asked, 130"
        " or 143 interrupted. Try 'flashstock demo', then 'flashstock serve'."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flashstock {__version__}")
        raise typer.Exit


@app.callback()
def every_command(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    if isinstance(context.obj, Invocation):
        context.obj.debug = debug


@app.command(rich_help_panel=RUN)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind; 0 takes any free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="API processes.")] = None,
    data_dir: DataDir = None,
    no_writer: Annotated[
        bool, typer.Option("--no-writer", help="Leave the log to a 'flashstock writer'.")
    ] = False,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="Write what runs where to this file (JSON), once ready."),
    ] = None,
) -> None:
    """Run the service: API workers, the writer and, with nothing configured, its own stores.

    SIGTERM or Ctrl-C drains and stops; a second one stops at once.

        flashstock serve

        flashstock serve --port 9000 --workers 2 --data-dir ./shop

        FLASHSTOCK_ADMIN_KEY=… flashstock serve --host 0.0.0.0
    """
    import asyncio

    settings = settings_from(host=host, port=port, workers=workers, data_dir=data_dir)

    from flashstock.supervisor.child import CrashLoop
    from flashstock.supervisor.logs import configure_logging
    from flashstock.supervisor.supervisor import ServeOptions, StoppedAtOnce, Supervisor

    configure_logging("serve", settings.log_level)

    async def run() -> None:
        await Supervisor(settings, ServeOptions(not no_writer, ready_file)).run()

    try:
        asyncio.run(run())
    except CrashLoop as problem:
        report(problem.code, problem.detail)
        raise typer.Exit(FAILED) from None
    except StoppedAtOnce as stop:
        raise typer.Exit(128 + stop.signal_number) from None


@app.command(rich_help_panel=RUN)
def writer(
    data_dir: DataDir = None,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Run the writer and sweeper alone, beside 'flashstock serve --no-writer'.

    Several may run: they take turns, and nothing is applied twice.

        FLASHSTOCK_REDIS_URL=… FLASHSTOCK_DATABASE_URL=… flashstock writer
    """
    from flashstock.cli.processes import run_writer_process

    run_writer_process(settings_from(data_dir=data_dir), child=child)


@app.command(name="api-worker", hidden=True)
def api_worker(
    fd: Annotated[int, typer.Option(help="The listening socket that 'serve' hands down.")],
) -> None:
    """One API process of 'flashstock serve'."""
    from flashstock.cli.processes import run_api_process

    run_api_process(settings_from(), fd)


app.command(rich_help_panel=LOOK)(doctor.doctor)
app.command(rich_help_panel=LOOK)(stores.reconcile)
app.command(rich_help_panel=LOOK)(stats.stats)
app.add_typer(campaigns.app, name="campaigns", rich_help_panel=LOOK)
app.add_typer(keys.app, name="keys", rich_help_panel=CHANGE)
app.command(rich_help_panel=CHANGE)(stores.rebuild)
app.command(rich_help_panel=TRY)(runs.demo)
app.command(rich_help_panel=TRY)(runs.replay)
app.command(
    rich_help_panel=TRY,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)(runs.bench)


@app.command(rich_help_panel=LOOK)
def version(
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show the version.

    flashstock version --json
    """
    if json_output:
        typer.echo(json.dumps({"name": "flashstock", "version": __version__}))
        return
    _print_version(wanted=True)
