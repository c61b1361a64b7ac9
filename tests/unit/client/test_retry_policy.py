"""Waits are bounded, jittered and never shorter than the service asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.client.retry import RetryPolicy, retry_after_ms

NOW = datetime(2026, 11, 22, 3, 0, 0, tzinfo=UTC)


@given(
    seed=st.integers(),
    attempts_max=st.integers(1, 12),
    asked_ms=st.one_of(st.none(), st.integers(0, 100_000)),
)
def test_every_bound_holds_until_it_gives_up(seed, attempts_max, asked_ms):
    policy = RetryPolicy(attempts_max, 100, 3_000, 15_000)
    random = Random(seed)
    waits: list[int] = []
    while True:
        wait_ms = policy.wait_ms(len(waits) + 1, sum(waits), asked_ms, random)
        if wait_ms is None:
            break
        waits.append(wait_ms)
    assert len(waits) < attempts_max
    assert sum(waits) <= 15_000
    assert all(0 <= wait_ms <= 3_000 for wait_ms in waits)
    if asked_ms is not None:
        assert all(wait_ms >= min(asked_ms, 3_000) for wait_ms in waits)


def test_waits_double_and_differ():
    policy = RetryPolicy(20, 100, 3_000, 1_000_000)
    first = {policy.wait_ms(1, 0, None, Random(seed)) or 0 for seed in range(50)}
    fourth = {policy.wait_ms(4, 0, None, Random(seed)) or 0 for seed in range(50)}
    assert min(first) >= 50
    assert max(first) <= 100
    assert min(fourth) >= 400
    assert max(fourth) <= 800
    assert len(first) > 10


@pytest.mark.parametrize(
    ("header", "wait_ms"),
    [
        (None, None),
        ("1", 1_000),
        (" 2 ", 2_000),
        ("0", 0),
        ("Sun, 22 Nov 2026 03:00:05 GMT", 5_000),
        ("Sun, 22 Nov 2026 02:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("Sun, 99 Nov 2026 03:00:05 GMT", None),
        ("Sun, 22 Nov 2026 03:00:05", None),
        ("9" * 4_000, 999_999_999_000),
    ],
)
def test_retry_after_is_read_or_passed_over(header, wait_ms):
    assert retry_after_ms(header, NOW) == wait_ms
