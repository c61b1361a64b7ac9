"""Percentiles from buckets are as near as they say."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from flashstock.statistics.lives import bucket_of, middle_of, percentile

lives = st.integers(0, 10**10)


@given(life=lives, other=lives)
def test_buckets_keep_the_order_and_their_middle_is_near(life, other):
    assert (bucket_of(life) <= bucket_of(other)) or life > other
    assert abs(middle_of(bucket_of(life)) - life) <= life / 16


@given(values=st.lists(lives, min_size=1, max_size=50), share=st.sampled_from([0.5, 0.9, 1.0]))
def test_a_percentile_is_near_the_true_one(values, share):
    found = percentile(Counter(map(bucket_of, values)), share)
    ordered = sorted(values)
    place = next(n for n in range(1, len(ordered) + 1) if n >= share * len(ordered))
    true = ordered[place - 1]
    assert found is not None
    assert abs(found - true) <= true / 16


def test_of_nothing_there_is_none():
    assert percentile({}, 0.5) is None
