"""What is attested, packed and unpacked, and what a pool asks for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.model.eligibility import (
    AUDIENCE_PATTERN,
    CHANNEL_PATTERN,
    LEVEL_MAX,
    Attests,
    audience_in_words,
    unmet_rule,
    unpack_attests,
)

channels = st.just("") | st.from_regex(CHANNEL_PATTERN.rstrip("$"), fullmatch=True)
attests = st.builds(Attests, st.booleans(), st.booleans(), st.integers(0, LEVEL_MAX), channels)


@given(attests)
def test_what_is_attested_is_read_as_it_was_packed(said):
    assert unpack_attests(said.packed()) == said
    assert not re.search(r"[\t\n]", said.packed())


def test_nothing_is_the_default():
    assert unpack_attests("") == Attests()


@given(attests)
def test_a_pool_without_rules_refuses_nobody(said):
    assert unmet_rule("", "", said) == ""


@pytest.mark.parametrize(
    ("audience", "listed", "said", "unmet"),
    [
        ("new", "", Attests(named=True), "audience"),
        ("new", "", Attests(new_buyer=True), ""),
        ("named", "", Attests(named=True), ""),
        ("level:10", "", Attests(level=9), "audience"),
        ("level:10", "", Attests(level=10), ""),
        ("", "app,web", Attests(channel="we"), "channels"),
        ("", "app,web", Attests(channel="web"), ""),
        ("new", "app", Attests(), "channels"),
        ("new", "app", Attests(channel="app"), "audience"),
    ],
)
def test_which_rule_refuses(audience, listed, said, unmet):
    assert unmet_rule(audience, listed, said) == unmet


@pytest.mark.parametrize("text", ["new", "named", "level:1", "level:99"])
def test_an_audience(text):
    assert re.match(AUDIENCE_PATTERN, text)
    assert audience_in_words(text)


@pytest.mark.parametrize("text", ["", "New", "level:0", "level:100", "level:", "level:01", "all"])
def test_no_audience(text):
    assert not re.match(AUDIENCE_PATTERN, text)
