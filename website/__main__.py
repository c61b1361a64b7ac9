"""``python -m website``: write the pages, build the site, and fail where a link leads nowhere.

Nothing is fetched: not while it is built, and not by who reads it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from website.checking import problems
from website.navigation import configuration
from website.pages import ROOT, write_pages

PAGES = ROOT / "build" / "pages"
SITE = ROOT / "build" / "site"
CONFIGURATION = ROOT / "build" / "mkdocs.yml"


def build() -> int:
    """The exit status of the build."""
    write_pages(PAGES)
    CONFIGURATION.write_text(configuration(PAGES), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    command += ["--config-file", str(CONFIGURATION)]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    for problem in problems(SITE) if status == 0 else ():
        sys.stderr.write(f"{problem}\n")
        status = 1
    return status


def main() -> None:
    """Build, and say where the site is."""
    parser = argparse.ArgumentParser(prog="python -m website", description=__doc__)
    parser.parse_args()
    status = build()
    if status == 0:
        sys.stdout.write(f"{SITE / 'index.html'}\n")
    raise SystemExit(status)


if __name__ == "__main__":
    main()
