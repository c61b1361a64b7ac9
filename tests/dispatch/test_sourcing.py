"""From where an order is sent: exactly what is asked for, from few and good places."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.dispatch import sourcing
from flashstock.dispatch.sourcing import Place, plan, ranked
from flashstock.errors import InsufficientStock, SplitNeeded

CODES = [f"w{number}" for number in range(6)]
SKUS = ["cap", "mug", "pen"]

places = st.lists(
    st.builds(
        Place,
        st.sampled_from(CODES),
        st.integers(0, 2),
        st.dictionaries(st.sampled_from(["north", "south"]), st.integers(1, 3)),
    ),
    unique_by=lambda place: place.code,
    max_size=6,
)
stocks = st.dictionaries(
    st.sampled_from(CODES), st.dictionaries(st.sampled_from(SKUS), st.integers(0, 6)), max_size=6
)
wishes = st.dictionaries(st.sampled_from(SKUS), st.integers(0, 8), max_size=3)


def has(stock, codes, wanted) -> bool:
    return all(
        sum(stock.get(code, {}).get(sku, 0) for code in codes) >= units
        for sku, units in wanted.items()
    )


@given(wishes, stocks, st.permutations(CODES), st.booleans())
def test_a_plan_covers_the_order_exactly_and_takes_no_more_than_is_there(
    wanted, stock, ranking, allow_split
):
    try:
        parcels = plan(wanted, stock, ranking, allow_split=allow_split)
    except InsufficientStock as shortage:
        missing = shortage.extra["missing"]
        assert missing
        for sku, units in wanted.items():
            there = sum(stock.get(code, {}).get(sku, 0) for code in ranking)
            assert missing.get(sku, 0) == max(0, units - there)
        return
    except SplitNeeded:
        assert not allow_split
        assert has(stock, ranking, wanted)
        assert not any(has(stock, [code], wanted) for code in ranking)
        return
    sent: dict[str, int] = {}
    for code, parcel in parcels.items():
        for sku, units in parcel.items():
            assert 0 < units <= stock[code][sku]
            sent[sku] = sent.get(sku, 0) + units
    assert sent == {sku: units for sku, units in wanted.items() if units}


@given(wishes, stocks, st.permutations(CODES))
def test_it_splits_only_if_needed_and_into_the_fewest_parcels(wanted, stock, ranking):
    try:
        parcels = plan(wanted, stock, ranking)
    except InsufficientStock:
        return
    if not any(wanted.values()):
        assert parcels == {}
        return
    fewest = next(
        size
        for size in range(1, len(ranking) + 1)
        if any(has(stock, codes, wanted) for codes in combinations(ranking, size))
    )
    if fewest <= sourcing.TRIED_PARCELS_MAX:
        assert len(parcels) == fewest
        ways = [codes for codes in combinations(ranking, fewest) if has(stock, codes, wanted)]
        assert tuple(parcels) == ways[0], "of equally few parcels, those of the best locations"
    for left_out in parcels:
        others = [code for code in parcels if code != left_out]
        assert not has(stock, others, wanted), "no parcel is superfluous"


MANY = [f"w{number:02d}" for number in range(sourcing.TRIED_LOCATIONS_MAX + 2)]


@given(
    st.dictionaries(st.sampled_from(SKUS), st.integers(1, 30), min_size=1),
    st.fixed_dictionaries(
        {
            code: st.dictionaries(st.sampled_from(SKUS), st.integers(1, 3), min_size=1)
            for code in MANY
        }
    ),
)
def test_more_locations_than_can_be_tried_are_chosen_greedily(wanted, stock):
    try:
        parcels = plan(wanted, stock, MANY)
    except InsufficientStock:
        return
    sent = {sku: sum(parcel.get(sku, 0) for parcel in parcels.values()) for sku in wanted}
    assert sent == wanted
    assert all(
        units <= stock[code][sku] for code in parcels for sku, units in parcels[code].items()
    )
    for left_out in parcels:
        others = [code for code in parcels if code != left_out]
        assert not has(stock, others, wanted), "no parcel is superfluous"
    assert list(parcels) == sorted(parcels)


@given(places, st.sampled_from([None, "north", "south"]), st.sets(st.sampled_from(CODES)))
def test_locations_are_ranked_by_level_then_priority_then_code(found, region, mapped):
    order = ranked(found, region, mapped)
    by_code = {place.code: place for place in found}
    assert set(order) == {code for code in by_code if not mapped or code in mapped}

    def key(code):
        place = by_code[code]
        return place.levels.get(region, 99) if region else 0, place.priority, code

    assert order == sorted(order, key=key)


def test_of_two_that_have_everything_the_one_that_serves_the_region_faster_sends_it():
    found = [Place("near", 9, {"north": 1}), Place("far", 1, {"north": 2}), Place("else", 0)]
    stock = {code: {"cap": 5} for code in ("near", "far", "else")}
    assert plan({"cap": 2}, stock, ranked(found, "north")) == {"near": {"cap": 2}}
    assert plan({"cap": 2}, stock, ranked(found)) == {"else": {"cap": 2}}


def test_the_mapping_of_the_shop_wins_over_the_region():
    found = [Place("near", 1, {"north": 1}), Place("own", 9, {"north": 3})]
    stock = {"near": {"cap": 5}, "own": {"cap": 5}}
    assert plan({"cap": 2}, stock, ranked(found, "north", {"own"})) == {"own": {"cap": 2}}
    with pytest.raises(InsufficientStock):
        plan({"cap": 6}, stock, ranked(found, "north", {"own"}))


def test_one_location_that_has_everything_is_better_than_two_better_ones():
    stock = {"a": {"cap": 1}, "b": {"mug": 1}, "z": {"cap": 1, "mug": 1}}
    wanted = {"cap": 1, "mug": 1}
    assert plan(wanted, stock, ["a", "b", "z"]) == {"z": wanted}
    del stock["z"]
    assert plan(wanted, stock, ["a", "b"]) == {"a": {"cap": 1}, "b": {"mug": 1}}
    with pytest.raises(SplitNeeded):
        plan(wanted, stock, ["a", "b"], allow_split=False)
