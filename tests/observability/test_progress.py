"""A person at a terminal sees how far a command has come."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from flashstock import bootstrap
from flashstock.config import Settings
from tests.acceptance.processes import PATIENCE_SECONDS, environment

pytestmark = pytest.mark.acceptance


async def test_a_reconciliation_tells_what_it_has_compared(sale):
    running = sale.running
    settings = Settings(redis_url=running["redis_url"], database_url=running["database_url"])
    pages = []

    def note(found):
        pages.append((found.pools_checked, found.reservations_checked))

    report = await bootstrap.reconcile(settings, repair=False, dry_run=True, on_page=note)
    assert pages == sorted(pages)
    assert pages[0] == (report["pools_checked"], 0), "pools come first"
    assert pages[-1] == (report["pools_checked"], report["reservations_checked"])
    assert report["reservations_checked"] > 0


def test_it_is_shown_on_a_terminal_and_leaves_the_output_alone(sale):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "flashstock", "reconcile", "--json", "--data-dir", sale.data_dir],
        env=environment({"TERM": "xterm"}),
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65_536):
            shown += part
    except OSError:  # Linux says so at the end
        pass
    os.close(ours)
    assert b"reconciling" in shown
    assert done.stdout.startswith(b'{"at": ')
