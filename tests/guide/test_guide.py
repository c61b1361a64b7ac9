"""Every command of the guide runs, in order, in one shell, and prints what the guide shows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.processes import PATIENT, environment
from tests.guide.pages import Step, steps
from tests.servers import free_port
from tests.tidy.sources import ROOT

PATIENCE_S = 280.0
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(PATIENCE_S + 20)]

DOCS = ROOT / "docs"
PAGES = [*sorted((DOCS / "guide").glob("[0-9]*.md")), DOCS / "quick-start.md", DOCS / "runbook.md"]
PORT_OF_THE_GUIDE = "8080"


def script(page: Path, port: int) -> tuple[str, list[Step]]:
    """The page as one shell script that says between blocks which one comes."""
    found = list(steps(page))
    parts = ["set -euo pipefail"]
    for number, step in enumerate(found):
        parts += [f"echo '@@ {number}'", step.commands]
    return "\n".join(parts).replace(PORT_OF_THE_GUIDE, str(port)), found


def run(text: str, directory: Path) -> str:
    """Everything it printed. Fails, with that, if a command of it failed."""
    variables = environment({"HOME": str(directory), **PATIENT})
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-c", text],
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=PATIENCE_S)
    finally:
        # What the page started in the background and a failure left behind.
        for left in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(shell.pid, left)
            except ProcessLookupError:
                break
            shell.wait()
    logs = "".join(log.read_text() for log in directory.glob("*.log"))
    assert shell.returncode == 0, f"{output}\n{logs}"
    return output


def test_there_is_a_guide():
    assert PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_does_what_it_says(page: Path, tmp_path: Path):
    assert shutil.which("curl"), "the guide talks to the service by curl"
    text, expected = script(page, free_port())
    assert any(step.shown for step in expected), "the page shows what comes out"
    outputs = run(text, tmp_path).split("@@ ")[1:]
    assert len(outputs) == len(expected)
    for step, output in zip(expected, outputs, strict=True):
        _, _, printed = output.partition("\n")
        missing = step.missing(printed)
        assert missing is None, f"{page.name}:{step.line} shows {missing!r}, got:\n{printed}"
