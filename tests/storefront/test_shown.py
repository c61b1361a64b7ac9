"""What a sale is called at a moment, and what its page is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flashstock.client import Pool, UnexpectedAnswer, Wave
from flashstock.errors import Forbidden, Overloaded, SoldOut, Unauthorized
from flashstock.model.states import PoolState
from flashstock.storefront.asked import problem_body
from flashstock.storefront.shown import Phase, phase_of, sale_body

NOW = datetime(2026, 11, 22, 3, 0, 0, 123_000, tzinfo=UTC)
TICK = timedelta(milliseconds=1)


UNSOLD: dict[str, Any] = {"state": PoolState.OPEN, "available": 5, "held": 0, "sold": 0}


def pool(**more: Any) -> Pool:
    return Pool(id="p", total=5, **(UNSOLD | more))


@pytest.mark.parametrize(
    ("more", "phase"),
    [
        ({}, Phase.OPEN),
        ({"starts_at": NOW}, Phase.OPEN),
        ({"starts_at": NOW + TICK}, Phase.NOT_YET),
        ({"starts_at": NOW + TICK, "available": 0}, Phase.NOT_YET),
        ({"available": 0, "held": 5}, Phase.SOLD_OUT),
        ({"ends_at": NOW + TICK}, Phase.OPEN),
        ({"ends_at": NOW}, Phase.ENDED),
        ({"state": PoolState.PAUSED}, Phase.PAUSED),
        ({"state": PoolState.PAUSED, "ends_at": NOW}, Phase.ENDED),
        ({"state": PoolState.CLOSED}, Phase.ENDED),
    ],
)
def test_the_phase_of_a_sale(more, phase):
    assert phase_of(pool(**more), NOW) is phase


def test_the_next_wave_is_the_first_that_has_not_come():
    waves = tuple(Wave(NOW + hours * timedelta(hours=1), hours + 5) for hours in (-1, 0, 1, 2))
    body = sale_body(pool(waves=waves), NOW, spread_ms=2_000, yours_ms=7)
    assert body["next_wave"] == {"at": "2026-11-22T04:00:00.123Z", "quantity": 6}
    assert body["now"] == "2026-11-22T03:00:00.123Z"
    assert body["opening"] == {"spread_ms": 2_000, "yours_ms": 7}
    assert sale_body(pool(), NOW, spread_ms=0, yours_ms=0)["next_wave"] is None


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (SoldOut("none left", available=0), 409, {}),
        (Unauthorized(), 502, {}),
        (Forbidden(), 403, {}),
        (Overloaded(), 503, {"Retry-After": "1"}),
        (Overloaded("", retry_after_ms=2_001), 503, {"Retry-After": "3"}),
        (UnexpectedAnswer("secret", http_status=200), 500, {}),
    ],
)
def test_what_went_wrong_is_told_as_far_as_it_concerns_a_visitor(error, status, headers):
    """A key that is not known is the shop's trouble: nobody here is asked for one."""
    told, body, sent = problem_body(error)
    assert (told, sent) == (status, headers)
    assert body["code"] == error.code
    assert "secret" not in str(body)
    assert body.get("available") == error.extra.get("available")
