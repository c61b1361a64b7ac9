"""What is received where, and set aside by which campaigns; nothing is lost on the way."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from flashstock.model.stock import LOCATION_PATTERN, SKU_PATTERN
from flashstock.replay.plan import plan_day
from flashstock.replay.rows import parse_rows
from flashstock.replay.stocking import (
    ITEMS_MAX,
    LINES_MAX,
    Split,
    Stocking,
    plan_stocking,
    region_of,
    split_of,
)
from tests.unit.replay.days import lines, row

RUN = "replay-0123abcd"


def planned(*rows: str, ratio: str = "1") -> Stocking:
    return plan_stocking(RUN, plan_day(parse_rows(lines(rows))), Fraction(ratio))


def to(country: str, invoice: str) -> str:
    return row(invoice).replace("United Kingdom", country)


def test_a_third_is_received_at_the_store_and_no_unit_is_lost():
    assert [split_of(units) for units in (0, 1, 2, 3, 10)] == [
        Split(0, 0),
        Split(1, 0),
        Split(2, 0),
        Split(2, 1),
        Split(7, 3),
    ]


@given(st.integers(0, 10**9))
def test_a_split_adds_up(units):
    split = split_of(units)
    assert sum(split) == units
    assert min(split) >= 0


def test_every_unit_is_received_in_movements_and_set_aside_in_campaigns_of_their_size():
    rows = [row("1", str(10_000 + number), number % 7 + 1) for number in range(260)]
    plan = planned(*rows)
    movements, campaigns = list(plan.receipts()), list(plan.campaigns())
    assert max(map(len, movements)) <= LINES_MAX
    assert [len(items) for items in campaigns] == [ITEMS_MAX, ITEMS_MAX, 60]
    received: Counter[str] = Counter()
    for line in (line for movement in movements for line in movement):
        assert line.location in (plan.warehouse, plan.store)
        received[line.sku] += line.quantity
    set_aside = {item.sku: item.quantity for items in campaigns for item in items}
    assert received == set_aside == {plan.name(sku): units for sku, units in plan.units.items()}


def test_the_file_has_every_sku_with_title_and_first_price():
    plan = planned(
        row("1", "71053", 2, price="3.39", description='"A, ""QUOTED""\nONE"'),
        row("2", "71053", 2, price="2.95", description="ANOTHER"),
        row("C3", "22423", -1, price="1.00", description="ONLY COMES BACK"),
    )
    read = list(csv.DictReader(io.StringIO(plan.sku_file().decode())))
    assert [(r["sku"], r["spu"], r["title"], r["price_minor"]) for r in read] == [
        (f"{RUN}-22423", "22423", "ONLY COMES BACK", "0"),
        (f"{RUN}-71053", "71053", 'A, "QUOTED" ONE', "339"),
    ]


def test_what_never_comes_has_no_campaign_and_what_only_comes_back_no_pool():
    plan = planned(row("1"), row("C2", "22423", -1), ratio="0")
    assert list(plan.receipts()) == []
    assert list(plan.campaigns()) == []
    assert plan.never_received() == ["85123A"]


def test_the_store_serves_the_country_that_most_carts_go_to():
    plan = planned(to("France", "1"), to("Norway", "2"), to("Norway", "3"), to("", "4"))
    warehouse, store = plan.locations()
    assert store.regions == {"Norway": 1}
    assert warehouse.regions == {"Norway": 2, "France": 1}
    assert all(re.fullmatch(LOCATION_PATTERN, place.code) for place in plan.locations())


def test_the_same_day_is_planned_the_same_way():
    rows = [to("France", "1"), to("Norway", "2"), row("3", "22423", 5)]
    assert planned(*rows) == planned(*rows)


@given(st.text(max_size=200))
def test_a_country_is_a_region_that_the_service_takes(country):
    region = region_of(country)
    assert len(region) <= 64
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", region)


@given(st.text(min_size=1, max_size=200))
def test_a_name_is_a_sku_of_the_book(code):
    assert re.fullmatch(SKU_PATTERN, planned().name(code))
