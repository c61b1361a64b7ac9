"""A module is named for what it does. These names say nothing, and everything ends up in them."""

from __future__ import annotations

from tests.tidy.sources import ROOT, python_files, shown

EMPTY_WORDS = {"util", "utils", "helper", "helpers", "manager", "managers", "misc"}


def test_no_module_has_a_name_that_says_nothing():
    files = python_files("src", "bench", "tests")
    assert files
    vague = [
        shown(path)
        for path in files
        for part in path.relative_to(ROOT).with_suffix("").parts
        if EMPTY_WORDS & set(part.lower().split("_"))
    ]
    assert vague == []
