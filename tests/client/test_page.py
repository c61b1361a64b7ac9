"""The program on the client's page runs as it stands there, and prints what the page shows."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flashstock.client import Client
from tests.acceptance.processes import PATIENCE_SECONDS, environment, serving
from tests.tidy.sources import ROOT

pytestmark = pytest.mark.acceptance

PAGE = (ROOT / "docs" / "client.md").read_text("utf-8")
URL_OF_THE_PAGE = "http://127.0.0.1:8080"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_does_what_it_says(tmp_path: Path):
    program = "\n".join(blocks("python"))
    assert program.count(URL_OF_THE_PAGE) == 1
    with serving(tmp_path / "data") as service:
        ran = subprocess.run(
            [sys.executable, "-c", program.replace(URL_OF_THE_PAGE, service.url)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "".join(blocks("text"))


def test_the_page_names_every_call():
    calls = {
        name
        for name, _ in inspect.getmembers(Client, inspect.isfunction)
        if not name.startswith("_")
    }
    table = PAGE.partition("## What else there is")[2]
    assert set(re.findall(r"`(\w+)`", table)) >= calls
