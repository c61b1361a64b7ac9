"""What a caller attests of a request: read alike by both readers, and packed for the scripts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flashstock.api import requests
from flashstock.api.requests import decode_reserve
from tests.unit.api.test_requests import NOTHING_ATTESTED, READERS, agree, reservation

GOOD_ATTESTS: list[dict[str, Any]] = [
    {},
    {"new_buyer": True},
    {"named": False, "new_buyer": True},
    {"level": 0},
    {"level": 99, "channel": "mini-program"},
    {"channel": None},
    {"new_buyer": True, "named": True, "level": 7, "channel": "a" * 32},
]
BAD_ATTESTS: list[tuple[str, Any]] = [
    ("new_buyer", 1),
    ("new_buyer", None),
    ("named", "true"),
    ("level", -1),
    ("level", 100),
    ("level", 1.0),
    ("level", True),
    ("level", None),
    ("channel", ""),
    ("channel", "a,b"),
    ("channel", "a\n"),
    ("channel", "a" * 33),
    ("channel", 1),
    ("age", 18),
]


@pytest.mark.parametrize("attests", GOOD_ATTESTS, ids=repr)
@pytest.mark.parametrize("kind", ["reserve", "batch"])
def test_what_is_attested_is_read_alike(kind, attests, monkeypatch):
    """By the fast reader alone: the marks are counted rightly."""
    body = reservation(attests=attests)
    if kind == "batch":
        plain = {"idempotency_key": "k", **reservation()}
        body = {"items": [plain, {**plain, "attests": attests}, plain]}
    read = agree(kind, json.dumps(body).encode())
    found = read["items"][1] if kind == "batch" else read
    assert found["attests"] == {**NOTHING_ATTESTED, **attests}
    monkeypatch.setattr(requests, "parse_json", None)
    READERS[kind][0](json.dumps(body).encode())


@pytest.mark.parametrize(("member", "value"), BAD_ATTESTS, ids=repr)
def test_what_can_not_be_attested_is_refused_by_name(member, value):
    refusal = agree("reserve", json.dumps(reservation(attests={member: value})).encode())
    assert [problem["field"] for problem in refusal.extra["errors"]] == [f"attests.{member}"]


@pytest.mark.parametrize(
    "attests",
    [
        '{"level":1,"level":1}',
        '{"channel":"a","channel":"a"}',
        '{"level":1,"l\\u0065vel":1}',
        'null,"attests":null',
        '{},"attests":{}',
    ],
)
def test_a_name_that_stands_twice_in_what_is_attested_is_refused(attests):
    body = f'{{"pool":"a","buyer":"b","quantity":1,"attests":{attests}}}'
    assert "twice" in agree("reserve", body.encode()).detail


def test_attested_by_nobody_is_null_or_nothing():
    assert agree("reserve", json.dumps(reservation(attests=None)).encode())["attests"] is None
    assert requests.attested(None) == ""


def test_what_is_attested_is_packed_for_the_scripts():
    body = decode_reserve(json.dumps(reservation(attests=GOOD_ATTESTS[-1])).encode())
    assert requests.attested(body.attests) == "1107" + "a" * 32
    body = decode_reserve(json.dumps(reservation(attests={"level": 3})).encode())
    assert requests.attested(body.attests) == "0003"
