"""The rush of the first moments is spread evenly, and nobody can draw again."""

from __future__ import annotations

from collections import Counter

from flashstock.storefront.opening import delay_ms

SPREAD_MS = 2_000


def test_a_buyer_has_one_delay_for_a_sale_and_another_for_the_next():
    first = delay_ms("visitor-1", "sale-1", SPREAD_MS)
    assert first == delay_ms("visitor-1", "sale-1", SPREAD_MS)
    others = {delay_ms("visitor-1", f"sale-{n}", SPREAD_MS) for n in range(20)}
    assert len(others) > 10


def test_a_crowd_comes_evenly():
    delays = [delay_ms(f"visitor-{n}", "sale", SPREAD_MS) for n in range(10_000)]
    assert min(delays) >= 0
    assert max(delays) < SPREAD_MS
    tenths = Counter(delay * 10 // SPREAD_MS for delay in delays)
    assert len(tenths) == 10
    assert all(850 < count < 1_150 for count in tenths.values()), tenths


def test_without_a_spread_everybody_comes_at_once():
    assert {delay_ms(f"visitor-{n}", "sale", 0) for n in range(100)} == {0}
