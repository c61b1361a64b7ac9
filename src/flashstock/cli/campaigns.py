"""``flashstock campaigns``: what is on sale, from SQL; the service need not run."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from flashstock.cli.settings import DataDir, settings_from

if TYPE_CHECKING:
    from flashstock.campaigns.views import CampaignViews

PAGE = 500

app = typer.Typer(help="Campaigns: list them, look at one.", no_args_is_help=True)


@app.command(name="list")
def list_campaigns(
    json_output: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
    data_dir: DataDir = None,
) -> None:
    """List all campaigns by code.

    flashstock campaigns list --json
    """

    async def load() -> list[dict[str, Any]]:
        from flashstock.api.bodies_campaigns import campaign_line_body

        lines: list[dict[str, Any]] = []
        async with _views(data_dir) as views:
            after = ""
            while page := await views.page(after, PAGE):
                lines += [campaign_line_body(shown) for shown in page]
                after = page[-1].campaign.code
        return lines

    lines = asyncio.run(load())
    if json_output:
        typer.echo(json.dumps(lines))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table("code", "state", "starts", "ends", "name", box=SIMPLE, padding=0)
    for line in lines:
        cells = (line[name] for name in ("code", "state", "starts_at", "ends_at", "name"))
        table.add_row(*(escape(str(cell)) for cell in cells))
    Console().print(table if lines else "no campaigns yet; POST /v1/campaigns makes one")


@app.command()
def show(
    code: Annotated[str, typer.Argument(help="The campaign's code.")],
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show a campaign with its items: what is available, held, sold, and under way.

    flashstock campaigns show 7KQ2M9XA
    """

    async def load() -> dict[str, Any]:
        from flashstock.api.bodies_campaigns import campaign_body

        async with _views(data_dir) as views:
            return campaign_body(await views.show(code))

    shown = asyncio.run(load())
    if json_output:
        typer.echo(json.dumps(shown))
        return
    terms = shown["in_force"] or shown["latest"]
    typer.echo(f"{shown['code']}  {shown['state']}  {terms['name']}")
    typer.echo(f"{terms['starts_at']} … {terms['ends_at']}  revision {terms['revision']}")
    for item in shown["items"]:
        units = item["counters"] or {}
        counts = ", ".join(f"{name} {number}" for name, number in units.items()) or "not filled yet"
        flying = f"; {len(item['in_flight'])} under way" if item["in_flight"] else ""
        typer.echo(f"  {item['item']}  {item['sku']}  {item['pool']}: {counts}{flying}")


@asynccontextmanager
async def _views(data_dir: DataDir) -> AsyncIterator[CampaignViews]:
    from flashstock.campaigns.views import CampaignViews
    from flashstock.ledger.engine import create_engine
    from flashstock.ledger.migrate import upgrade

    settings = settings_from(data_dir=data_dir)
    if settings.database_url is None:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    await upgrade(settings.ledger_url)
    engine = create_engine(settings.ledger_url)
    try:
        yield CampaignViews(engine, lambda: time.time_ns() // 1_000_000)
    finally:
        await engine.dispose()
