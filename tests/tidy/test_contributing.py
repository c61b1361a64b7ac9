"""CONTRIBUTING.md tells a newcomer where each test belongs."""

from __future__ import annotations

import re

from tests.tidy.sources import ROOT, python_files


def test_every_directory_of_tests_is_told_of_and_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("## Tests")[2].partition("\n\n`make test")[0]
    first_cells = re.findall(r"^\|([^|]*`[^|]*)\|", table, flags=re.MULTILINE)
    told = [
        name.removeprefix("tests/") for cell in first_cells for name in re.findall(r"`(.*?)`", cell)
    ]
    below = (path.relative_to(ROOT / "tests").parts for path in python_files("tests"))
    assert sorted(told) == sorted({parts[0] for parts in below if len(parts) > 1})
