"""Ids that need no look-up."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.model.ids import (
    DIGEST_LENGTH,
    POOL_ID_PATTERN,
    RESERVATION_ID_PATTERN,
    ReservationId,
    digest_of,
    parse_reservation_id,
    shard_of,
)

parts = st.lists(st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"])))


@given(parts)
def test_a_digest_is_sixteen_url_safe_characters(texts):
    assert re.fullmatch(rf"[A-Za-z0-9_-]{{{DIGEST_LENGTH}}}", digest_of(*texts))


def test_a_digest_is_the_same_for_ever():
    """Records in Redis and SQL are found by it: a change would forget them all."""
    assert digest_of("reservation", "local", "order-1") == "GIDJMKuJXiEdMJiq"
    assert digest_of("a", "b") != digest_of("ab")
    assert digest_of("a", "b") != digest_of("b", "a")
    assert digest_of("a", "") != digest_of("a")


@given(st.from_regex(POOL_ID_PATTERN.rstrip("$"), fullmatch=True), parts)
def test_an_id_is_read_as_it_was_written(pool, texts):
    reservation = ReservationId(pool, digest_of(*texts))
    assert re.match(RESERVATION_ID_PATTERN, str(reservation))
    assert parse_reservation_id(str(reservation)) == reservation


DIGEST = "A" * DIGEST_LENGTH


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p",
        "~" + DIGEST,
        "p~",
        f"p~{DIGEST}A",
        f"p~{DIGEST[1:]}",
        f"p~{DIGEST}\n",
        f"\np~{DIGEST}",
        f"p~p~{DIGEST[2:]}",
        f"p\t~{DIGEST}",
        f"-p~{DIGEST}",
        f"{'p' * 65}~{DIGEST}",
        f"p~{DIGEST[1:]}=",
        f"p~{DIGEST[1:]}é",
        f"{{fs:00}}~{DIGEST}",
    ],
)
def test_what_is_no_id_needs_no_store(text):
    assert parse_reservation_id(text) is None


def test_a_pool_stays_in_its_shard_for_ever():
    assert [shard_of(name, 64) for name in ("p", "q", "sku-1")] == [49, 39, 46]
    assert {shard_of(f"pool-{number}", 1) for number in range(100)} == {0}


def test_pools_spread_over_the_shards():
    counts = Counter(shard_of(f"pool-{number}", 16) for number in range(16_000))
    assert set(counts) == set(range(16))
    assert max(counts.values()) < 2 * min(counts.values())
