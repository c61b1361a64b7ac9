"""What a page shows as typed into a console is a command, to be copied word for word."""

from __future__ import annotations

import re

from tests.tidy.sources import ROOT, shown

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
NO_PROGRAM = re.compile(r"^(GET|POST|PUT|PATCH|DELETE)\b|^[{\[]")


def test_consoles_show_commands_only():
    blocks = [(page, found[1]) for page in PAGES for found in BLOCK.finditer(page.read_text())]
    assert blocks
    wrong = [
        f"{shown(page)}: {line}"
        for page, block in blocks
        for line in block.splitlines()
        if NO_PROGRAM.match(line)
    ]
    assert wrong == []
