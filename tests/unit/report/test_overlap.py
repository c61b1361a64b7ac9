"""Units promised at the same moment, against counting every moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flashstock.report.overlap import Promise, promised_at_once_max

promises = st.lists(
    st.builds(
        Promise,
        start_ms=st.integers(0, 20),
        end_ms=st.one_of(st.none(), st.integers(0, 20)),
        quantity=st.integers(1, 5),
    ),
    max_size=12,
)


@given(promises)
def test_it_is_the_largest_sum_over_all_moments(made):
    by_moment = [
        sum(
            promise.quantity
            for promise in made
            if promise.start_ms <= moment and (promise.end_ms is None or moment < promise.end_ms)
        )
        for moment in range(21)
    ]
    assert promised_at_once_max(made) == max(by_moment)


def test_units_may_be_promised_again_in_the_millisecond_in_which_they_are_free():
    assert promised_at_once_max([Promise(0, 5, 3), Promise(5, None, 3)]) == 3
    assert promised_at_once_max([Promise(0, 6, 3), Promise(5, None, 3)]) == 6
