"""This machine and its settings."""

from __future__ import annotations

import os
import platform
import resource
import shutil
from collections.abc import Iterator
from typing import Final

from flashstock import __version__
from flashstock.config import Settings, unknown_keys
from flashstock.doctor.findings import Finding, Level

OPEN_FILES_MIN: Final = 4_096
DISK_FREE_MIN_BYTES: Final = 1_000_000_000


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """What can be said without asking anybody."""
    version = f"flashstock {__version__}, Python {platform.python_version()}"
    yield Finding("versions", Level.OK, version)
    yield from _settings()
    yield _open_files()
    cores = os.cpu_count() or 1
    if settings.workers > cores:
        yield Finding(
            "workers",
            Level.WARNING,
            f"{settings.workers} on {cores} cores",
            "They take turns, batches get smaller, and each reservation costs more.",
            "One worker for each core that nobody else needs (FLASHSTOCK_WORKERS).",
        )
    if settings.redis_url is None:
        yield from _disk(settings)


def _settings() -> Iterator[Finding]:
    slips = unknown_keys(os.environ)
    for slip in slips:
        yield Finding(
            "settings",
            Level.WARNING,
            slip,
            "What it was meant to set has its default.",
            "Correct the name, or remove the variable.",
        )
    if not slips:
        yield Finding("settings", Level.OK, "every FLASHSTOCK_* variable is understood")


def _open_files() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit >= OPEN_FILES_MIN:
        return Finding("open files", Level.OK, f"{limit} in a process")
    return Finding(
        "open files",
        Level.WARNING,
        f"{limit} in a process",
        "Each connection is one. In a rush, connections beyond the limit are not answered.",
        f"ulimit -n {OPEN_FILES_MIN * 4}, or LimitNOFILE= in the unit.",
    )


def _disk(settings: Settings) -> Iterator[Finding]:
    """Of the stores in the data directory, if there are any yet."""
    if not settings.data_dir.is_dir():
        return
    free = shutil.disk_usage(settings.data_dir).free
    found = f"{free / 1e9:.1f} GB free at {settings.data_dir}"
    if free >= DISK_FREE_MIN_BYTES:
        yield Finding("disk", Level.OK, found)
        return
    yield Finding(
        "disk",
        Level.WARNING,
        found,
        "Valkey writes its file anew now and then and needs its size again; SQL needs room to grow."
        " A full disk stops both: 503, nothing acknowledged is lost.",
        "Free some, or choose another FLASHSTOCK_DATA_DIR.",
    )
