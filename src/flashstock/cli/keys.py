"""``flashstock keys``: who may talk to the service beyond loopback."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flashstock.api.auth import KEY_NAME_PATTERN, RESERVED_NAMES, Role, key_hash, new_api_key
from flashstock.cli.auditing import on_record
from flashstock.cli.settings import DataDir, settings_from
from flashstock.errors import ConfigurationError, InvalidRequest

if TYPE_CHECKING:
    from flashstock.config import Settings
    from flashstock.ledger.queries import Queries

app = typer.Typer(
    help="API keys: create, list, revoke. Only their SHA-256 is stored.", no_args_is_help=True
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who will use it; a key's name is used once.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.STOREFRONT,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, once: it can't be shown again.

    flashstock keys create shop

    flashstock keys create backoffice --role ops

    flashstock keys create robot --json
    """
    if re.fullmatch(KEY_NAME_PATTERN, name) is None:
        raise InvalidRequest(f"a key's name is a-z 0-9 . _ - and at most 64 long, not {name!r}")
    if name in RESERVED_NAMES:
        raise InvalidRequest(f"{name!r} is the name of a built-in caller")
    key = new_api_key()

    async def store() -> None:
        settings = settings_from(data_dir=data_dir)
        async with _queries(settings) as queries:
            if any(known.name == name for known in await queries.api_keys()):
                raise ConfigurationError(f"there is a key named {name!r} already")
            await queries.add_api_key(name, role.value, key_hash(key), time.time_ns() // 1_000_000)
        await on_record(settings, "keys create", name, f"role {role.value}")

    asyncio.run(store())
    if json_output:
        typer.echo(json.dumps({"name": name, "role": role.value, "key": key}))
        return
    typer.echo(f"key {name!r} ({role.value}); keep it, it is not shown again:", err=True)
    typer.echo(key)


@app.command(name="list")
def list_keys(
    json_output: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
    data_dir: DataDir = None,
) -> None:
    """List the keys by name; what they are is not known here.

    flashstock keys list --json
    """

    async def load() -> list[dict[str, Any]]:
        async with _queries(settings_from(data_dir=data_dir)) as queries:
            return [
                {
                    "name": key.name,
                    "role": key.role,
                    "created_at": _time(key.created_at_ms),
                    "revoked_at": _time(key.revoked_at_ms),
                }
                for key in await queries.api_keys()
            ]

    rows = asyncio.run(load())
    if json_output:
        typer.echo(json.dumps(rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "role", "created", "revoked")
    for row in rows:
        table.add_row(*(str(value or "") for value in row.values()))
    Console().print(table if rows else "no keys; 'flashstock keys create NAME' makes one")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Let a key open nothing any more. Its name stays taken.

    flashstock keys revoke shop
    """

    async def end() -> bool:
        settings = settings_from(data_dir=data_dir)
        async with _queries(settings) as queries:
            revoked = bool(await queries.revoke_api_key(name, time.time_ns() // 1_000_000))
        if revoked:
            await on_record(settings, "keys revoke", name)
        return revoked

    if not asyncio.run(end()):
        raise ConfigurationError(f"there is no key named {name!r} that still works")
    if json_output:
        typer.echo(json.dumps({"name": name, "revoked": True}))
        return
    typer.echo(f"key {name!r} is revoked", err=True)


@asynccontextmanager
async def _queries(settings: Settings) -> AsyncIterator[Queries]:
    """The ledger's queries, its schema up to date."""
    from flashstock.ledger.engine import create_engine
    from flashstock.ledger.migrate import upgrade
    from flashstock.ledger.queries import Queries

    if settings.database_url is None:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    await upgrade(settings.ledger_url)
    engine = create_engine(settings.ledger_url)
    try:
        yield Queries(engine)
    finally:
        await engine.dispose()


def _time(at_ms: int | None) -> str | None:
    from datetime import UTC, datetime

    if at_ms is None:
        return None
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
