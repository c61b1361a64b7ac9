"""What is read at a glance is what the strict reader would have read."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
import pytest

from flashstock.api.plain_json import plain_reader
from flashstock.api.requests import BatchBody, BatchItemBody, ReserveBody

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
ITEM = {"idempotency_key": "key", "pool": "pool", "buyer": "b", "quantity": 1}
RESERVE = {"pool": "pool", "buyer": "b", "quantity": 1}


def _patterns(kind: type[msgspec.Struct]) -> dict[str, str]:
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: meta.pattern
        for name, hint in hints.items()
        for meta in get_args(hint)
        if isinstance(meta, msgspec.Meta) and meta.pattern is not None
    }


@pytest.mark.parametrize("kind", [ReserveBody, BatchItemBody])
def test_printable_ascii_is_all_that_patterns_ask_but_the_pools(kind):
    """One that asked for more would have to be checked by whoever reads plainly."""
    patterns = _patterns(kind)
    assert "pool" in patterns
    for name, pattern in patterns.items():
        assert (re.fullmatch(pattern, PRINTABLE) is not None) is (name != "pool"), name


@pytest.mark.parametrize(
    ("kind", "document"),
    [(ReserveBody, RESERVE), (BatchBody, {"items": [ITEM, {**ITEM, "buyer": PRINTABLE[3:60]}]})],
)
def test_a_plain_body_is_read_to_the_letter(kind, document):
    text = json.dumps(document).encode()
    read = plain_reader(kind)(text)
    assert msgspec.to_builtins(read) == msgspec.to_builtins(msgspec.json.decode(text, type=kind))


@pytest.mark.parametrize(
    "change",
    [
        {"buyer": "ü"},
        {"buyer": "\u007f"},
        {"buyer": 'a"b'},
        {"buyer": "a\tb"},
        {"buyer": ""},
        {"buyer": "b" * 10_000},
        {"quantity": 0},
        {"quantity": "1"},
        {"stranger": 1},
    ],
)
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_what_is_not_plain_or_not_right_is_left_to_the_strict_reader(change, ensure_ascii):
    text = json.dumps({**RESERVE, **change}, ensure_ascii=ensure_ascii).encode()
    assert plain_reader(ReserveBody)(text) is None
    items: Any = {"items": [ITEM, {**ITEM, **change}]}
    assert plain_reader(BatchBody)(json.dumps(items, ensure_ascii=ensure_ascii).encode()) is None


def test_the_number_of_items_stays_bounded():
    class Few(msgspec.Struct):
        items: Annotated[list[int], msgspec.Meta(max_length=2)]

    assert plain_reader(Few)(b'{"items":[1,2]}') is not None
    assert plain_reader(Few)(b'{"items":[1,2,3]}') is None
