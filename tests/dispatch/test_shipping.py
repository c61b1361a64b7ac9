"""Shipping, on a real database: what leaves was there, leaves once, and is on record."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from sqlalchemy import insert, select

from flashstock.campaigns.tables import (
    campaign_balances,
    campaign_gifts,
    campaign_items,
    campaign_revisions,
)
from flashstock.dispatch.orders import Filter, SaleState
from flashstock.dispatch.shipping import ParcelWanted
from flashstock.dispatch.snapshots import Snapshot
from flashstock.errors import (
    FlashstockError,
    IdempotencyMismatch,
    InsufficientStock,
    InvalidRequest,
    NotShippable,
    SplitNeeded,
    UnknownChannel,
    UnknownLocation,
    UnknownOrder,
)
from flashstock.ledger.engine import create_engine, reading, writing
from flashstock.stockbook.tables import stock_balances
from tests.dispatch.yard import NOW_MS, Yard, address_of, patiently


async def test_what_is_shipped_leaves_the_pool_s_stock_and_is_on_record(yard):
    await yard.set_aside("sale", "cap", east=5)
    await yard.sell("100", "sale", 2)
    assert await yard.ship("100", tracking="T-1", carrier="post")
    assert await yard.balance("cap", "east") == {"on_hand": 3, "campaign": 3}
    assert await yard.allotted("sale") == {("cap", "east"): (3, 2)}
    assert await yard.kinds("100") == ["commit", "ship"]
    detail = await yard.orders.detail("100")
    assert detail.sale.state is SaleState.SHIPPED
    [parcel] = detail.parcels
    assert (parcel.location, parcel.tracking, parcel.carrier) == ("east", "T-1", "post")
    assert (parcel.shipped_by, parcel.shipped_at_ms) == ("ann", yard.now_ms)
    assert [(line.sku, line.title, line.quantity, line.shipped) for line in detail.lines] == [
        ("cap", "Cap", 2, 2)
    ]


async def test_an_order_is_shipped_once_however_often_it_is_asked(yard):
    await yard.set_aside("sale", "cap", east=5)
    await yard.sell("100", "sale", 2)
    assert await yard.ship("100", command_id="one")
    assert not await yard.ship("100", command_id="one")
    with pytest.raises(IdempotencyMismatch):
        await yard.ship("100", command_id="one", quantity=1)
    with pytest.raises(NotShippable) as refused:
        await yard.ship("100", command_id="two")
    assert refused.value.extra["state"] == "shipped"
    assert await yard.allotted("sale") == {("cap", "east"): (3, 2)}


async def test_many_who_ship_an_order_at_once_ship_it_once(yard):
    await yard.set_aside("sale", "cap", east=40)
    for number in range(5):
        await yard.sell(f"{number}", "sale", 2)
    engines = [create_engine(address_of(yard.engine)) for _ in range(3)]
    yards = [Yard(engine) for engine in engines]

    async def ship(number: int) -> int:
        try:
            fields = {"command_id": f"by-{number}", "quantity": 1 + number % 2}
            one, order_no = yards[number % 3], f"{number % 5}"
            return await patiently(lambda: one.ship(order_no, **fields))
        except (NotShippable, InvalidRequest):
            return 0

    await asyncio.gather(*(ship(number) for number in range(30)))
    for engine in engines:
        await engine.dispose()
    shipped = [(await yard.sale(f"{number}")).shipped for number in range(5)]
    assert shipped == [2] * 5
    assert await yard.allotted("sale") == {("cap", "east"): (30, 10)}
    assert await yard.balance("cap", "east") == {"on_hand": 30, "campaign": 30}


async def test_a_repetition_at_the_same_time_ships_nothing_more(yard):
    await yard.set_aside("sale", "cap", east=9)
    await yard.sell("100", "sale", 3)
    again = Yard(create_engine(address_of(yard.engine)))
    asked = [
        patiently(partial(one.ship, "100", command_id="one", quantity=1))
        for one in (yard, again)
        for _ in range(4)
    ]
    answers = await asyncio.gather(*asked)
    await again.engine.dispose()
    assert sorted(answers) == [False] * 7 + [True]
    assert (await yard.sale("100")).shipped == 1


async def test_it_may_leave_in_parts_and_is_paid_until_the_last_one(yard):
    await yard.set_aside("sale", "cap", east=5)
    await yard.sell("100", "sale", 3)
    await yard.ship("100", quantity=1)
    assert (await yard.sale("100")).state is SaleState.PAID
    with pytest.raises(InvalidRequest):
        await yard.ship("100", quantity=3)
    await yard.ship("100")
    assert (await yard.sale("100")).state is SaleState.SHIPPED
    assert await yard.parcels("100") == [("east", {"cap": 1}), ("east", {"cap": 2})]


async def test_it_comes_from_the_best_location_that_has_everything(yard):
    await yard.set_aside("sale", "cap", east=2, west=9)
    for number in ("1", "2", "3", "4", "5"):
        await yard.sell(number, "sale", 1 if number != "5" else 2)
    await yard.ship("1")
    await yard.ship("2", region="south")
    await yard.ship("3", region="north", channel="shop")
    await yard.ship("4", location="west")
    await yard.ship("5")
    found = [await yard.parcels(number) for number in ("1", "2", "3", "4", "5")]
    assert [parcels[0][0] for parcels in found] == ["east", "west", "west", "west", "west"]


async def test_a_location_or_shop_or_order_must_be_there(yard):
    await yard.set_aside("sale", "cap", east=1)
    await yard.sell("100", "sale")
    with pytest.raises(UnknownLocation):
        await yard.ship("100", location="moon")
    with pytest.raises(UnknownLocation):
        await yard.ship("100", parcels=(ParcelWanted("moon", {"cap": 1}),))
    with pytest.raises(UnknownChannel):
        await yard.ship("100", channel="nowhere")
    with pytest.raises(UnknownOrder):
        await yard.ship("101")
    with pytest.raises(InsufficientStock):
        await yard.ship("100", location="west")
    assert await yard.kinds("100") == []


async def test_it_is_split_only_where_no_location_has_all(yard):
    await yard.set_aside("sale", "cap", east=1, west=1)
    await yard.sell("100", "sale", 2)
    with pytest.raises(SplitNeeded):
        await yard.ship("100", allow_split=False)
    await yard.ship("100", tracking="T")
    assert await yard.parcels("100") == [("east", {"cap": 1}), ("west", {"cap": 1})]
    assert await yard.allotted("sale") == {("cap", "east"): (0, 1), ("cap", "west"): (0, 1)}


async def test_a_bundle_leaves_with_all_of_its_components(yard):
    await yard.set_aside("set", "cap", 2, east=4)
    await yard.set_aside("set", "mug", east=1, west=1)
    await yard.sell("100", "set", 2)
    await yard.ship("100")
    assert await yard.parcels("100") == [("east", {"cap": 4, "mug": 1}), ("west", {"mug": 1})]
    assert await yard.balance("cap", "east") == {}


async def test_what_was_sold_ahead_can_not_leave_before_it_has_arrived(yard):
    await yard.set_aside("presale", "cap", virtual=True, east=5)
    await yard.receive("cap", west=1)
    await yard.sell("100", "presale", 3)
    with pytest.raises(InsufficientStock) as refused:
        await yard.ship("100")
    assert refused.value.extra["missing"] == [{"sku": "cap", "missing": 3}]
    await yard.arrive("cap", "east", 2)
    with pytest.raises(InsufficientStock) as refused:
        await yard.ship("100")
    assert refused.value.extra["missing"] == [{"sku": "cap", "missing": 1}]
    await yard.ship("100", quantity=2)
    assert await yard.balance("cap", "east") == {"campaign": 3, "virtual": 3}


async def test_damaged_goods_do_not_stand_in_for_goods_that_have_not_arrived(yard):
    await yard.set_aside("presale", "cap", virtual=True, east=2)
    await yard.receive_damaged("cap", "east", 2)
    await yard.sell("100", "presale", 1)
    with pytest.raises(InsufficientStock):
        await yard.ship("100")


async def test_nothing_of_a_pool_that_the_book_does_not_know_is_anywhere(yard):
    await yard.set_aside("other", "cap", east=5)
    await yard.sell("100", "unbooked")
    with pytest.raises(FlashstockError):
        await yard.ship("100")
    assert (await yard.sale("100")).shipped == 0


async def test_units_given_back_at_the_pool_are_not_sent(yard):
    await yard.set_aside("sale", "cap", east=5)
    await yard.sell("100", "sale", 3)
    await yard.given_back_at_the_pool("100", 1)
    with pytest.raises(InvalidRequest):
        await yard.ship("100", quantity=3)
    await yard.ship("100")
    assert (await yard.sale("100")).shipped == 2
    await yard.sell("101", "sale", 2)
    await yard.given_back_at_the_pool("101", 2)
    assert (await yard.sale("101")).state is SaleState.CLOSED
    with pytest.raises(NotShippable):
        await yard.ship("101")


async def test_parcels_that_are_packed_hold_exactly_what_is_to_be_sent(yard):
    await yard.set_aside("sale", "cap", east=1, west=3)
    await yard.sell("100", "sale", 2)
    for lines, error in (
        ({"west": {"cap": 1}}, InvalidRequest),
        ({"west": {"cap": 3}}, InvalidRequest),
        ({"west": {"cap": 2, "mug": 1}}, InvalidRequest),
        ({"east": {"cap": 2}}, InsufficientStock),
    ):
        parcels = tuple(ParcelWanted(place, packed) for place, packed in lines.items())
        with pytest.raises(error):
            await yard.ship("100", parcels=parcels)
    packed = (ParcelWanted("west", {"cap": 1}, "T-9"), ParcelWanted("east", {"cap": 1}))
    await yard.ship("100", parcels=packed, tracking="T-0")
    detail = await yard.orders.detail("100")
    sent = {parcel.location: (parcel.tracking, parcel.lines) for parcel in detail.parcels}
    assert sent == {"west": ("T-9", (("cap", 1),)), "east": ("T-0", (("cap", 1),))}


async def test_orders_of_one_buyer_go_together_until_one_is_audited(yard):
    await yard.set_aside("sale", "cap", east=9)
    await yard.set_aside("more", "mug", east=9)
    for number, pool in (("1", "sale"), ("2", "more"), ("3", "sale"), ("4", "sale")):
        await yard.sell(number, pool, buyer="bob")
    await yard.sell("5", "sale", buyer="eve")
    [group] = await yard.orders.mergeable("", 10)
    assert (group.buyer, [sale.order_no for sale in group.sales]) == ("bob", ["1", "2", "3", "4"])
    await yard.orders.audit("4", "carol")
    await yard.orders.audit("4", "dave")
    assert (await yard.sale("4")).audited_by == "carol"
    [group] = await yard.orders.mergeable("", 10)
    assert [sale.order_no for sale in group.sales] == ["1", "2", "3"]
    with pytest.raises(NotShippable):
        await yard.ship("1", merge=("4",))
    with pytest.raises(InvalidRequest):
        await yard.ship("1", merge=("5",))
    await yard.ship("1", merge=("2", "3"), tracking="together")
    assert await yard.parcels("2") == [("east", {"mug": 1})]
    parcels = {(await yard.orders.detail(number)).parcels[0].number for number in "123"}
    assert len(parcels) == 1
    assert await yard.orders.mergeable("", 10) == []
    assert await yard.allotted("sale") == {("cap", "east"): (7, 2)}


async def test_what_is_to_be_packed_next_is_what_was_paid_first(yard):
    await yard.set_aside("sale", "cap", east=9)
    for number, paid_at_ms in (("3", 30), ("1", 10), ("2", 20), ("4", 40)):
        await yard.sell(number, "sale", paid_at_ms=paid_at_ms)
    await yard.ship("1")
    found = await yard.orders.page(Filter(state=SaleState.PAID, limit=2))
    assert [sale.order_no for sale in found] == ["2", "3"]
    rest = await yard.orders.page(Filter(state=SaleState.PAID, after=(30, "3")))
    assert [sale.order_no for sale in rest] == ["4"]
    everything = await yard.orders.page(Filter())
    assert [sale.order_no for sale in everything] == ["1", "2", "3", "4"]
    assert await yard.orders.page(Filter(buyer="buyer-4", pool="sale")) == rest
    assert await yard.orders.page(Filter(pool="other")) == []


async def test_the_books_add_up_whatever_is_shipped(yard):
    await yard.set_aside("set", "cap", 2, east=6, west=2)
    await yard.set_aside("set", "mug", east=1, west=3)
    for number in range(4):
        await yard.sell(f"{number}", "set")
        await yard.ship(f"{number}", region="south")
    found = await yard.allotted("set")
    for sku, per_unit in (("cap", 2), ("mug", 1)):
        rows = [row for (name, _), row in found.items() if name == sku]
        assert sum(quantity + shipped for quantity, shipped in rows) == 4 * per_unit
        assert sum(quantity for quantity, _ in rows) == 0
    async with reading(yard.engine) as connection:
        balances = (await connection.execute(select(stock_balances))).all()
    assert all(row.campaign == row.committed == row.on_hand == 0 for row in balances)


async def test_gifts_leave_with_their_order(yard):
    await yard.set_aside("sale", "cap", east=5)
    await yard.set_aside("gift", "mug", east=5)
    await yard.sell("100", "sale", buyer="bob")
    await yard.sell("200", "gift", buyer="bob")
    await yard.sell("101", "sale", buyer="eve")
    given = {"code": "c", "item": 1, "tier": 0, "buyer": "bob", "decided_at_ms": 1, "paid_seq": 1}
    for order_no, gift_order_no in (("100", "200"), ("101", None)):
        which = {"order_no": order_no, "gift_order_no": gift_order_no}
        gift = {"pool": "gift", "sku": "mug", "state": "given" if gift_order_no else "none"}
        async with writing(yard.engine) as connection:
            await connection.execute(insert(campaign_gifts), {**given, **which, **gift})
    await yard.ship("100")
    assert (await yard.sale("200")).state is SaleState.SHIPPED
    assert await yard.parcels("200") == [("east", {"mug": 1})]
    assert (await yard.orders.detail("100")).gifts == ("200",)
    await yard.ship("101")
    assert (await yard.orders.detail("101")).gifts == ()


async def test_what_was_bought_is_what_the_revision_of_that_time_said(yard):
    await yard.set_aside("sale", "cap", east=5)
    await yard.sell("100", "sale")
    times = {1: (1, NOW_MS), 2: (NOW_MS, NOW_MS + 50), 3: (NOW_MS + 50, 0)}
    for revision, (from_ms, until_ms) in times.items():
        rows = revision_rows(revision, in_force_from_ms=from_ms, in_force_until_ms=until_ms)
        async with writing(yard.engine) as connection:
            for table, row in rows:
                await connection.execute(insert(table), row)
    snapshot = (await yard.orders.detail("100")).snapshot
    assert snapshot == Snapshot("autumn", 2, "Cap, revision 2", 2_00, "EUR")
    await yard.sell("101", "other")
    assert (await yard.orders.detail("101")).snapshot is None


async def test_a_presale_is_sent_when_its_balance_is_paid(yard):
    await yard.set_aside("sale", "cap", east=5)
    await yard.sell("100", "sale", 2)
    for table, row in revision_rows(3, in_force_from_ms=1):
        terms = {"presale": True, "deposit_minor": 100} if table is campaign_items else {}
        async with writing(yard.engine) as connection:
            await connection.execute(insert(table), {**row, **terms})
    with pytest.raises(NotShippable) as refused:
        await yard.ship("100")
    assert refused.value.extra["balance_due_minor"] == 400
    paid = {"order_no": "100", "payment_ref": "pay-2", "amount_minor": 400, "currency": "EUR"}
    async with writing(yard.engine) as connection:
        row = {**paid, "recorded_by": "ann", "paid_at_ms": NOW_MS}
        await connection.execute(insert(campaign_balances), row)
    await yard.ship("100")
    assert (await yard.sale("100")).state is SaleState.SHIPPED


def revision_rows(revision, **times):
    """What the campaigns write of a revision, as far as it matters here."""
    shared = {"code": "autumn", "revision": revision}
    head = {
        **shared,
        **times,
        "state": f"r{revision}",
        "name": "Autumn",
        "starts_at_ms": 1,
        "ends_at_ms": 9,
        "channels": "[]",
        "per_buyer_limit": 0,
        "limit_across_items": False,
        "audience": "",
        "deduct": "hold",
        "hold_ms": 1,
        "places": "[]",
        "created_by": "ann",
        "created_at_ms": 1,
    }
    item = {
        **shared,
        "item": 1,
        "pool": "sale",
        "sku": "cap",
        "title": f"Cap, revision {revision}",
        "quantity": 5,
        "price_minor": revision * 100,
        "currency": "EUR",
        "presale": False,
        "deposit_minor": 0,
        "waves": "",
        "gifts": "[]",
        "needs": "{}",
    }
    return [(campaign_revisions, head), (campaign_items, item)]
