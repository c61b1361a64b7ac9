"""Every error is told apart by its code, stands in the tree of its module, and is documented."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from flashstock import errors
from flashstock.errors import FlashstockError
from tests.tidy.sources import ROOT


def _classes(root: type[FlashstockError]) -> Iterator[type[FlashstockError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith(errors.__name__):
            yield from _classes(child)


CLASSES = tuple(_classes(FlashstockError))


def test_codes_are_unique():
    repeated = [code for code, count in Counter(c.code for c in CLASSES).items() if count > 1]
    assert repeated == []


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_an_error_says_what_it_is(error):
    assert "code" in vars(error)
    assert "title" in vars(error)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert 400 <= error.status <= 599


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_the_tree_at_the_top_of_the_module_names_it(error):
    assert re.search(rf"\b{error.__name__}\b", errors.__doc__ or "")


def test_the_documentation_names_every_code_a_caller_can_meet():
    """Looks at the first document that has the table. Families that are never raised as such
    are left out, and what only stops a start."""
    documents = [
        path for path in (ROOT / "docs" / "errors.md", ROOT / "README.md") if path.exists()
    ]
    tables = [text for path in documents if "`sold_out`" in (text := path.read_text("utf-8"))]
    if not tables:
        pytest.skip("no document lists the codes yet")
    answers = {c for c in CLASSES if not c.__subclasses__()} | {errors.Unavailable}
    codes = sorted(c.code for c in answers - {errors.ConfigurationError})
    assert [code for code in codes if f"`{code}`" not in tables[0]] == []
