"""Who may show how much: exact sums, nothing that is not there, and the last units for one shop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flashstock.channels.shares import ChannelMode, Policy, Shop, divide, shares

WEIGHT, SHARED = ChannelMode.WEIGHT, ChannelMode.SHARED
IDS = ["app", "web", "mini", "store"]
PLACES = ["east", "west", "north"]

shop_lists = st.lists(
    st.builds(
        Shop,
        st.sampled_from(IDS),
        st.sampled_from(ChannelMode),
        st.integers(0, 50),
        st.integers(0, 3),
        st.frozensets(st.sampled_from(PLACES)),
    ),
    unique_by=lambda shop: shop.id,
)
stocks = st.dictionaries(st.sampled_from(PLACES), st.integers(0, 1_000))
policies = st.builds(
    Policy,
    st.none() | st.sampled_from(ChannelMode),
    st.integers(0, 300),
    st.none() | st.sampled_from(IDS),
    st.dictionaries(st.sampled_from(IDS), st.integers(0, 50)),
)


def five_shops(mode=WEIGHT):
    weights = {"a": 40, "b1": 20, "b2": 20, "c1": 10, "c2": 10}
    return [Shop(name, mode, weight, 1) for name, weight in weights.items()]


def test_a_hundred_units_by_weight():
    found = shares({"east": 60, "west": 40}, 0, five_shops(), Policy())
    assert found == {"a": 40, "b1": 20, "b2": 20, "c1": 10, "c2": 10}


def test_shared_shops_show_the_same_number_until_the_water_is_low():
    policy = Policy(low_water=10, low_water_channel="b1")
    assert set(shares({"east": 12}, 2, five_shops(SHARED), policy).values()) == {10}
    low = shares({"east": 11}, 2, five_shops(SHARED), policy)
    assert low == {"a": 0, "b1": 9, "b2": 0, "c1": 0, "c2": 0}


def test_the_safety_stock_is_shown_to_nobody():
    assert sum(shares({"east": 5}, 5, five_shops(), Policy()).values()) == 0
    assert sum(shares({"east": 5}, 9, five_shops(), Policy()).values()) == 0
    assert sum(shares({"east": 5}, 2, five_shops(), Policy()).values()) == 3


def test_a_shop_with_locations_of_its_own_shows_what_is_there():
    shops = [Shop("a", SHARED, 1, 1, frozenset({"east"})), Shop("b", SHARED, 1, 1)]
    assert shares({"east": 5, "west": 7}, 1, shops, Policy()) == {"a": 4, "b": 11}
    by_weight = [Shop("a", WEIGHT, 1, 1, frozenset({"east"})), Shop("b", WEIGHT, 1, 2)]
    assert shares({"east": 5, "west": 7}, 0, by_weight, Policy()) == {"a": 3, "b": 9}


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), max_size=20))
def test_parts_add_up_and_are_the_exact_shares_rounded(quantity, weights):
    parts = divide(quantity, weights)
    total = sum(weights)
    assert sum(parts) == (quantity if total else 0)
    for part, weight in zip(parts, weights, strict=True):
        if total:
            assert quantity * weight // total <= part <= -(-quantity * weight // total)


@given(stocks, st.integers(0, 400), shop_lists, policies)
def test_nothing_is_shown_that_is_not_there(stock, safety_stock, shops, policy):
    found = shares(stock, safety_stock, shops, policy)
    assert set(found) == {shop.id for shop in shops}
    modes = {shop.id: policy.mode or shop.mode for shop in shops}
    left = max(0, sum(stock.values()) - safety_stock)
    assert all(0 <= number <= left for number in found.values())
    divided = sum(number for name, number in found.items() if modes[name] is WEIGHT)
    assert divided <= left
    for shop in shops:
        seen = sum(n for place, n in stock.items() if not shop.locations or place in shop.locations)
        assert found[shop.id] <= max(0, seen - safety_stock)


@given(stocks, st.integers(0, 400), shop_lists, policies)
def test_shops_by_weight_that_sell_from_everywhere_show_all_of_it(
    stock, safety_stock, shops, policy
):
    everywhere = [Shop(shop.id, WEIGHT, shop.weight, shop.priority) for shop in shops]
    policy = Policy(None, policy.low_water, policy.low_water_channel, policy.weights)
    found = shares(stock, safety_stock, everywhere, policy)
    weights = [policy.weights.get(shop.id, shop.weight) for shop in everywhere]
    left = max(0, sum(stock.values()) - safety_stock)
    assert sum(found.values()) == (left if sum(weights) else 0)


@given(stocks, st.integers(0, 400), shop_lists, policies)
def test_below_the_mark_only_the_named_shop_shows_any(stock, safety_stock, shops, policy):
    everywhere = [Shop(shop.id, SHARED, shop.weight, shop.priority) for shop in shops]
    policy = Policy(None, policy.low_water, policy.low_water_channel)
    found = shares(stock, safety_stock, everywhere, policy)
    left = max(0, sum(stock.values()) - safety_stock)
    low = left < policy.low_water and policy.low_water_channel in found
    for name, number in found.items():
        assert number == (0 if low and name != policy.low_water_channel else left)
