"""Debian's Chromium: where it is, or how it gets here.

``python -m tests.browser.chromium`` installs it where that is possible and says where it is.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
INSTALL_SECONDS_MAX = 540
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REQUIRED = any(os.environ.get(name) for name in ("CI", "BROWSER_REQUIRED"))
"""Where a merge is decided, a missing browser is a failure; elsewhere it is a skip that is seen."""


class NoBrowser(Exception):
    """There is none, and why."""


def executable() -> str:
    """The path of a browser, installed first where nobody has and this process may.

    Raises:
        NoBrowser: there is none.
    """
    if found := _found():
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoBrowser("no Chromium on this machine: apt-get install chromium")
    # Test processes that run side by side must not install it side by side.
    with (Path(tempfile.gettempdir()) / "flashstock-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _found() is None:
            _install()
    found = _found()
    if found is None:
        raise NoBrowser("apt-get installed chromium, but it is not on the PATH")
    return found


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _install() -> None:
    for command in (
        ["apt-get", "-qq", "update"],
        ["apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium"],
    ):
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired as problem:
            raise NoBrowser(f"{' '.join(command)} took too long") from problem
        if done.returncode:
            raise NoBrowser(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{executable()}\n")
    except NoBrowser as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(1)
