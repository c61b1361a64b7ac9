"""Order numbers: unique, digits only, and telling nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.model.orders import (
    SHARD_COUNT_MAX,
    WIDTH_MIN,
    _permute,
    buyer_digits,
    luhn_digit,
    order_number,
)

SECRET = b"a secret of thirty-two characters"


def test_a_hundred_thousand_sales_of_three_shards_have_a_number_each():
    numbers = {
        order_number(SECRET, shard, index, f"buyer {index % 1000}")
        for shard, indexes in ((0, 60_000), (1, 30_000), (63, 10_000))
        for index in range(1, indexes + 1)
    }
    assert len(numbers) == 100_000
    assert {len(number) for number in numbers} == {WIDTH_MIN + 3}


def test_a_wider_index_makes_a_longer_number():
    """So that numbers of different widths can't meet."""
    for width in range(WIDTH_MIN, 13):
        last_index = (10**width - 1) // SHARD_COUNT_MAX
        assert len(order_number(SECRET, 0, last_index, "ann")) == width + 3
        assert len(order_number(SECRET, 0, last_index + 1, "ann")) == width + 4


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_the_permutation_hits_every_number_once(width):
    values = range(10**width)
    assert sorted(_permute(SECRET, value, width) for value in values) == list(values)


def test_the_permutation_depends_on_the_secret_and_hides_the_order():
    given_order = [_permute(SECRET, value, 8) for value in range(1000)]
    assert given_order != [_permute(b"another", value, 8) for value in range(1000)]
    neighbours = [abs(b - a) for a, b in pairwise(given_order)]
    assert min(neighbours) > 1
    rising = sum(b > a for a, b in pairwise(given_order))
    assert 400 < rising < 600


@given(st.binary(min_size=1), st.integers(0, 63), st.integers(1, 10**12), st.text())
def test_a_number_is_digits_with_a_check_digit_and_always_the_same(secret, shard, index, buyer):
    buyer = buyer.encode("utf-8", "ignore").decode()
    number = order_number(secret, shard, index, buyer)
    assert number.isascii()
    assert number.isdigit()
    assert luhn_digit(number[:-1]) == number[-1]
    assert number[-3:-1] == buyer_digits(buyer)
    assert number == order_number(secret, shard, index, buyer)


@pytest.mark.parametrize(
    ("body", "digit"), [("7992739871", "3"), ("0", "0"), ("18", "2"), ("411111111111111", "1")]
)
def test_the_check_digit_is_luhns(body, digit):
    assert luhn_digit(body) == digit


@given(st.from_regex(r"[0-9]{4,12}", fullmatch=True), st.data())
def test_one_wrong_digit_is_always_seen(body, data):
    place = data.draw(st.integers(0, len(body) - 1))
    wrong = data.draw(st.sampled_from("0123456789").filter(lambda digit: digit != body[place]))
    assert luhn_digit(body[:place] + wrong + body[place + 1 :]) != luhn_digit(body)


def test_a_number_is_the_same_for_ever():
    """It is derived again whenever it is shown; a change would rename every order."""
    assert order_number(SECRET, 5, 123, "ann") == "44626742470"
