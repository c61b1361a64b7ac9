"""From values to HTML: everything is escaped, every number gets its unit, every time its zone."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flashstock import __version__
from flashstock.console import charts
from flashstock.console.routing import path_to
from flashstock.model.group_rules import parse_group_rules

HERE: Final = Path(__file__).parent
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS


def environment() -> Environment:
    """The templates of the package."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, span=span, at=at, clock=clock, percent=percent, rate=rate)
    made.filters.update(
        money=money, number_short=number_short, countdown=countdown, counted=counted
    )
    made.globals.update(
        version=__version__,
        assets=digest_of_assets(),
        charts=charts,
        group_rules=parse_group_rules,
        query_string=query_string,
        path_to=path_to,
    )
    return made


def digest_of_assets() -> str:
    """Changes with any file that pages load: so no browser keeps one of another version."""
    files = sorted(path for path in (HERE / "static").rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def number(value: int | None) -> str:
    """``1,234,567``; a dash where nobody knows."""
    return "—" if value is None else f"{value:,}"


def number_short(value: float) -> str:
    """The upper edge of a scale, without digits that say nothing."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def rate(value: float | None) -> str:
    """So many a second, with as many digits as mean something."""
    if value is None:
        return "—"
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def percent(share: float | None) -> str:
    """``42.5 %``; a dash where there is nothing to have a share of."""
    return "—" if share is None else f"{100 * share:.1f} %"


def span(ms: float | None) -> str:
    """How long something lasts, in its two largest units: ``2 min 05 s``."""
    if ms is None:
        return "—"
    if ms < 1_000:
        return f"{ms:.1f} ms" if 0 < ms < 10 else f"{ms:.0f} ms"
    if ms < 10_000:
        return f"{ms / 1_000:.1f} s"
    whole = int(ms)
    if whole < _MINUTE_MS:
        return f"{whole // 1_000} s"
    if whole < _HOUR_MS:
        return _two(whole // _MINUTE_MS, "min", whole % _MINUTE_MS // 1_000, "s")
    if whole < _DAY_MS:
        return _two(whole // _HOUR_MS, "h", whole % _HOUR_MS // _MINUTE_MS, "min")
    return _two(whole // _DAY_MS, "d", whole % _DAY_MS // _HOUR_MS, "h")


def countdown(ms: int) -> str:
    """``23:59:42``: what is left, to the second, however long it is."""
    seconds = max(0, -(-ms // 1_000))
    return f"{seconds // 3_600:,}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def counted(value: int, one: str, many: str) -> str:
    """``1 seat``, ``2 seats``."""
    return f"{number(value)} {one if value == 1 else many}"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    rest = f" {small:02d} {small_unit}" if small else ""
    return f"{large:,} {large_unit}{rest}"


def at(ms: int | None) -> Markup | str:
    """A moment as a ``<time>``, to the second; a dash where there is none."""
    return _time(ms, "%Y-%m-%d %H:%M:%S")


def clock(ms: int | None) -> Markup | str:
    """The same, but only the time of day."""
    return _time(ms, "%H:%M:%S")


def _time(ms: int | None, form: str) -> Markup | str:
    if not ms:
        return "—"
    moment = datetime.fromtimestamp(ms / 1_000, UTC)
    exact = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{}">{} UTC</time>').format(
        exact, exact, moment.strftime(form)
    )


def money(minor: int | None, currency: str | None = "") -> str:
    """An amount in the currency's smallest unit, as it is kept: nothing is guessed of decimals."""
    return "—" if minor is None else f"{minor:,} {currency or ''} minor units".replace("  ", " ")


def query_string(**parameters: Any) -> str:
    """``?a=1&b=2`` of those that are set, or nothing."""
    known = {name: value for name, value in parameters.items() if value not in (None, "")}
    return f"?{urlencode(known)}" if known else ""
