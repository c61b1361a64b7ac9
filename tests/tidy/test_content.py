"""What must not stand in any file of the project, whatever its kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tidy.sources import project_files, shown

FORBIDDEN = {
    "a path of one machine": re.compile(r"/(home/\w+|root|work|Users/\w+)/|\bC:\\\\?Users\b"),
    "a package index or a download address": re.compile(
        r"https?://[^\s\"']+/(simple|packages)/|https?://[^\s\"']+\.(whl|tar\.gz)\b"
        r"|pypi\.org|pythonhosted\.org|--(extra-)?index-url|--find-links"
    ),
    "work left for later": re.compile(r"\b(TODO|FIXME|XXX)\b"),
}

# Only this file may spell out what it looks for.
FILES = tuple(path for path in project_files() if path != Path(__file__).resolve())


def _lines(path: Path) -> list[str]:
    content = path.read_bytes()
    return [] if b"\0" in content else content.decode("utf-8").splitlines()


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what):
    assert FILES
    found = [
        f"{shown(path, number)} {line.strip()[:80]}"
        for path in FILES
        for number, line in enumerate(_lines(path), start=1)
        if FORBIDDEN[what].search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of one machine", "cd /home/ann/flashstock"),
        (
            "a package index or a download address",
            "pip install -i https://mirror.example" + "/simple/ x",
        ),
        ("a package index or a download address", "https://mirror.example/flashstock-1.0.whl"),
        ("work left for later", "# TODO: later"),
    ],
)
def test_the_patterns_see_what_they_are_for(what, line):
    assert FORBIDDEN[what].search(line)
