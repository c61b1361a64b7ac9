"""What a person can hold in their head at once."""

from __future__ import annotations

from tests.tidy.sources import functions, project_files, python_files, shown

FILE_LINES_MAX = 400
LUA_FILE_LINES_MAX = 200
FUNCTION_LINES_MAX = 70

CODE = python_files("src", "bench", "tests")


def _lines_of(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_files_are_short():
    assert CODE
    long = [
        f"{shown(path)}: {_lines_of(path)}" for path in CODE if _lines_of(path) > FILE_LINES_MAX
    ]
    assert long == []


def test_scripts_are_short():
    scripts = [path for path in project_files() if path.suffix == ".lua"]
    assert scripts
    long = [
        f"{shown(path)}: {_lines_of(path)}"
        for path in scripts
        if _lines_of(path) > LUA_FILE_LINES_MAX
    ]
    assert long == []


def test_functions_are_short():
    long = []
    for path in CODE:
        for function in functions(path):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                long.append(f"{shown(path, function.lineno)} {function.name}: {lines}")
    assert long == []
