"""An exception that is caught is dealt with, or it is not caught."""

from __future__ import annotations

import ast

import pytest

from tests.tidy.sources import python_files, shown, syntax_tree

EVERYTHING = {"Exception", "BaseException"}


def _names(node: ast.expr | None) -> set[str]:
    """The classes a handler catches; a bare ``except:`` catches everything."""
    if node is None:
        return {"BaseException"}
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return {part.id for part in parts if isinstance(part, ast.Name)}


def _does_nothing(statement: ast.stmt) -> bool:
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return constant or isinstance(statement, ast.Pass | ast.Continue)


def swallowed(tree: ast.AST) -> list[int]:
    """Lines where something is caught that nobody named, or everything is, for nothing."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            silent = all(_does_nothing(statement) for statement in node.body)
            if node.type is None or (silent and _names(node.type) & EVERYTHING):
                lines.append(node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            lines += [node.lineno for argument in node.args if _names(argument) & EVERYTHING]
    return lines


def test_nothing_is_swallowed():
    files = python_files("src", "bench", "tests")
    assert files
    found = [shown(path, line) for path in files for line in swallowed(syntax_tree(path))]
    assert found == []


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("try:\n    f()\nexcept:\n    g()", [3]),
        ("try:\n    f()\nexcept Exception:\n    pass", [3]),
        ("try:\n    f()\nexcept (ValueError, BaseException):\n    ...", [3]),
        ("with contextlib.suppress(Exception):\n    f()", [1]),
        ("try:\n    f()\nexcept Exception as problem:\n    log(problem)", []),
        ("try:\n    f()\nexcept ValueError:\n    pass", []),
    ],
)
def test_the_search_sees_what_it_is_for(code, lines):
    assert swallowed(ast.parse(code)) == lines
