"""A day's rows become carts, returns and reasons; nothing is counted twice or dropped."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.errors import ConfigurationError
from flashstock.model.ids import POOL_ID_PATTERN
from flashstock.replay.options import ReplayOptions
from flashstock.replay.plan import Day, SkuLine, lines_in, name_of, plan_day
from flashstock.replay.rows import parse_rows
from tests.unit.replay.days import lines, row


def planned(*rows: str) -> Day:
    return plan_day(parse_rows(lines(rows)))


def test_an_invoice_is_a_cart_with_its_lines_as_they_stand():
    day = planned(
        row("1", "85123A", 6),
        row("2", "22423", 1, buyer=""),
        row("1", "71053", 2),
        row("1", "85123A", 3),
    )
    first, second = day.carts
    assert (first.invoice, first.buyer) == ("1", "17850")
    assert first.lines == [SkuLine("85123A", 6), SkuLine("71053", 2), SkuLine("85123A", 3)]
    assert second.buyer == "guest-2"


@pytest.mark.parametrize(
    ("skipped", "reason"),
    [
        (row(code="POST"), "not_goods"),
        (row(code="D"), "not_goods"),
        (row(code="M"), "not_goods"),
        (row(code="m"), "not_goods"),
        (row(code="DOT"), "not_goods"),
        (row(code="C2"), "not_goods"),
        (row(code="BANK CHARGES"), "not_goods"),
        (row(code="AMAZONFEE", price="-5.0"), "not_goods"),
        (row(code="CRUK", quantity=-1), "not_goods"),
        (row(code="gift_0001_20"), "not_goods"),
        (row("C1", "M", -1), "not_goods"),
        (row(price=0), "no_price"),
        (row(price="-0.01"), "no_price"),
        (row(quantity=0), "no_quantity"),
        (row(quantity=-10, price=0), "correction"),
        (row("C1", quantity=10), "correction"),
        (row(quantity=1_000_001), "quantity_too_large"),
        (row("C1", quantity=-1_000_001), "quantity_too_large"),
        ("1,2", "malformed_row"),
    ],
)
def test_what_can_not_be_sold_has_a_reason_and_leaves_the_rest_of_the_cart(skipped, reason):
    day = planned(row("1", "71053", 2), skipped, row("1", "22423", 1))
    assert day.skipped == {reason: 1}
    assert day.rows == 3
    assert day.returns == []
    assert [cart.lines for cart in day.carts] == [[SkuLine("71053", 2), SkuLine("22423", 1)]]


@pytest.mark.parametrize("code", ["85123A", "22423", "15056BL", "79323GR", "DCGS0004"])
def test_goods_are_goods(code):
    assert len(planned(row(code=code)).carts) == 1


def test_one_sku_has_one_spelling():
    day = planned(row("1", "15056bl", 2), row("2", "15056BL", 3))
    assert day.demand() == {"15056BL": 5}


def test_a_cancelled_invoice_is_a_return():
    day = planned(row("C7", "22423", -3), row("c8", "22423", -1, price=0))
    assert day.carts == []
    assert [(back.invoice, back.sku, back.quantity) for back in day.returns] == [
        ("C7", "22423", 3),
        ("c8", "22423", 1),
    ]
    assert day.demand() == {"22423": 0}


@pytest.mark.parametrize(
    ("ratio", "demand", "stock"),
    [("0.8", 5, 4), ("0.8", 6, 5), ("0.1", 30, 3), ("0", 9, 0), ("1", 7, 7), ("2.5", 3, 8)],
)
def test_stock_is_the_share_of_the_demand_rounded_up(ratio, demand, stock):
    day = planned(row("1", quantity=demand))
    assert day.stock(Fraction(ratio)) == {"85123A": stock}


def test_the_day_is_played_in_its_order_by_the_minute():
    day = planned(
        row("3", at="2010-12-01 09:00:59"),
        row("C4", quantity=-1, at="2010-12-01 09:00:01"),
        row("1", at="2010-12-01 08:26:00"),
        row("2", at="2010-12-01 09:00:10"),
    )
    told = [
        (
            f"{minute.at:%H:%M}",
            [c.invoice for c in minute.carts],
            [r.invoice for r in minute.returns],
        )
        for minute in day.minutes()
    ]
    assert told == [("08:26", ["1"], []), ("09:00", ["2", "3"], ["C4"])]


def test_an_empty_day_is_a_day():
    day = planned()
    assert (day.rows, list(day.minutes()), day.stock(Fraction(1))) == (0, [], {})


texts = st.text(max_size=60)


@given(texts, texts)
def test_pool_ids_are_legal_and_differ_with_the_sku(one, other):
    first, second = name_of("replay-0123abcd", one), name_of("replay-0123abcd", other)
    assert re.fullmatch(POOL_ID_PATTERN, first)
    assert (first == second) == (one == other)


def test_a_plain_sku_stays_readable():
    assert name_of("replay-0123abcd", "85123A") == "replay-0123abcd-85123A"


some_rows = st.lists(
    st.builds(
        row,
        invoice=st.sampled_from(["1", "2", "3", "C4", "c5", ""]),
        code=st.sampled_from(["85123A", "85123a", "22423", "POST", "M", "22423 ", ""]),
        quantity=st.sampled_from([-5, -1, 0, 1, 6, 2_000, 1_000_001, "x"]),
        price=st.sampled_from(["2.55", "0", "-1", "?"]),
        buyer=st.sampled_from(["17850.0", "", "7"]),
        at=st.sampled_from(["2010-12-01 08:26:00", "2010-12-01 08:27:00", "never"]),
    ),
    max_size=30,
)


@given(some_rows)
def test_every_row_is_a_line_a_return_or_skipped(rows):
    day = planned(*rows)
    assert day.rows == len(rows)
    assert day.rows == lines_in(day.carts) + len(day.returns) + day.skipped.total()
    minutes = list(day.minutes())
    assert sum(len(minute.carts) for minute in minutes) == len(day.carts)
    assert sum(len(minute.returns) for minute in minutes) == len(day.returns)
    assert sum(day.demand().values()) == sum(
        line.quantity for cart in day.carts for line in cart.lines
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"speed": -1},
        {"speed": float("nan")},
        {"speed": float("inf")},
        {"stock_ratio": -0.1},
        {"stock_ratio": 1_001},
        {"concurrency": 0},
        {"port": -1},
        {"url": "http://127.0.0.1:1", "keep": True},
    ],
)
def test_options_out_of_bounds_are_named(tmp_path, bad):
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        ReplayOptions(tmp_path / "day.csv", **bad)
