"""Items that sell to groups, on real stores: what is sent of them, told of them, and given back."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from sqlalchemy import select, update

from flashstock.api.schemas_groups import GroupBuyRequest
from flashstock.campaigns.prices import amounts_of_orders
from flashstock.campaigns.terms import Item
from flashstock.dispatch.orders import Filter, Sale, SaleState, sale_of, sales
from flashstock.dispatch.returns import ReturnOrder, Returns
from flashstock.dispatch.shipping import ShipOrder, Shipping
from flashstock.dispatch.snapshots import snapshot_of
from flashstock.errors import CampaignItemFixed, GroupNotFormed, NotShippable
from flashstock.ledger.engine import reading, writing
from flashstock.ledger.journal_reader import Position
from flashstock.ledger.tables import orders, quarantine
from flashstock.model.ids import parse_reservation_id
from flashstock.notices.group_news import GroupNews
from flashstock.notices.tables import group_news_cursors, webhook_deliveries, webhook_events
from flashstock.notices.webhooks import Webhooks
from tests.campaigns.offers import Office
from tests.dispatch.yard import shop_locations
from tests.recovery.node import eventually

LIFE_SECONDS = 3_600
PRICE_MINOR = 1_000


def rules(size: int = 2, **changes: Any) -> str:
    asked = {"size": size, "life_seconds": LIFE_SECONDS, **changes}
    return GroupBuyRequest.model_validate(asked).rules().text


class Table:
    """Where buyers sit together, and those who look after them."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.site = office.site
        self.node = office.site.node
        engine, clock = office.site.engine, office.clock
        self.shipping = Shipping(engine, clock, shop_locations)
        self.returns = Returns(engine, clock, office.site.node.stores.store)
        self.webhooks = Webhooks(engine, clock, private_allowed=True)
        self.news = GroupNews(engine)

    async def running(self, group_buy: str, quantity: int = 10) -> str:
        """The pool of an item that sells to groups."""
        item = Item(1, "mug", quantity, PRICE_MINOR, "EUR", group_buy=group_buy)
        code = await self.office.running(item)
        return f"{code}-1"

    async def pay(self, seat: str) -> None:
        await self.node.reservations.confirm(seat, f"pay-{seat}")
        await self.node.is_applied()

    async def leave(self, seat: str) -> None:
        await self.node.reservations.cancel(seat)
        await self.node.is_applied()

    async def order(self, seat: str) -> Sale:
        async with reading(self.site.engine) as connection:
            found = await sales(connection, Filter())
            (one,) = [sale for sale in found if sale.reservation_id == seat]
            return await sale_of(connection, one.order_no)

    async def listed(self, state: SaleState) -> list[str]:
        async with reading(self.site.engine) as connection:
            found = await sales(connection, Filter(state=state))
        return [sale.reservation_id for sale in found]

    async def costs(self, seat: str) -> tuple[int | None, int]:
        """What a statement should say was paid for it, and what its order says of a unit."""
        order = await self.order(seat)
        async with reading(self.site.engine) as connection:
            (row,) = await connection.execute(
                select(orders).where(orders.c.order_no == order.order_no)
            )
            amounts = await amounts_of_orders(connection, [row])
            snapshot = await snapshot_of(connection, order)
        assert snapshot is not None
        amount_minor, _ = amounts.get(order.order_no, (None, ""))
        return amount_minor, snapshot.price_minor

    async def ship(self, seat: str, key: str) -> bool:
        order_no = (await self.order(seat)).order_no
        return await self.shipping.ship(ShipOrder(key, "ann", order_no))

    async def group_fails(self, group: str) -> None:
        target = parse_reservation_id(group)
        assert target is not None

        async def has_failed() -> bool:
            await self.node.stores.store.settle_group(target)
            await self.node.is_applied()
            shown = await self.node.stores.queries.shown_group(target)
            return shown is not None and shown.record.paid == 0 and shown.reason != ""

        await eventually(has_failed, "the group has failed")

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Every webhook written so far: topic and data."""
        async with reading(self.site.engine) as connection:
            rows = await connection.execute(
                select(webhook_events.c.topic, webhook_events.c.body).order_by(
                    webhook_events.c.number
                )
            )
            return [(topic, orjson.loads(body)["data"]) for topic, body in rows]


@pytest.fixture
async def table(site) -> Table:
    office = Office(site)
    await site.locations("north")
    await office.goods("mug", north=50)
    return Table(office)


@pytest.mark.parametrize("deduct", ["pay", "form"])
async def test_only_what_a_formed_group_bought_is_sent(table, deduct):
    pool = await table.running(rules(deduct=deduct))
    group = await table.node.seat(pool, "ann", "open")
    await table.pay(group)
    joined = await table.node.seat(pool, "bob", group)
    assert (await table.order(group)).state is SaleState.WAITING
    assert await table.listed(SaleState.PAID) == []
    assert await table.listed(SaleState.WAITING) == [group]
    with pytest.raises(NotShippable) as refused:
        await table.ship(group, "too-early")
    assert refused.value.extra["state"] == "waiting"
    await table.pay(joined)
    assert await table.listed(SaleState.PAID) == [group, joined]
    assert await table.ship(group, "now")
    assert (await table.order(group)).state is SaleState.SHIPPED
    assert await table.site.counters(pool) == (10, 8, 0, 2, 0)
    await table.site.adds_up()


@pytest.mark.parametrize("deduct", ["pay", "form"])
async def test_of_a_group_that_failed_nothing_is_ever_sent(table, deduct):
    pool = await table.running(rules(3, deduct=deduct))
    group = await table.node.seat(pool, "ann", "open")
    joined = await table.node.seat(pool, "bob", group)
    await table.pay(group)
    await table.pay(joined)
    waiting = await table.order(group)
    wanted = ReturnOrder("return-1", "ann", waiting.order_no)
    with pytest.raises(GroupNotFormed):
        await table.returns.take_back(wanted)
    await table.leave(joined)
    await table.leave(group)
    for seat in (group, joined):
        order = await table.order(seat)
        assert (order.state, order.to_ship) == (SaleState.CLOSED, 0)
        with pytest.raises(NotShippable):
            await table.ship(seat, f"never-{seat}")
    assert await table.listed(SaleState.CLOSED) == [group, joined]
    assert await table.site.counters(pool) == (10, 10, 0, 0, 0)
    await table.site.adds_up()


async def test_whether_it_sells_to_groups_can_not_change(table):
    pool = await table.running(rules(2))
    code = pool.removesuffix("-1")
    edited = table.office.terms(Item(1, "mug", 10))
    await table.office.life.edit(code, 1, edited, "ops")
    with pytest.raises(CampaignItemFixed, match="sells to groups"):
        await table.office.in_force(code, 2)


async def test_new_rules_go_for_groups_that_are_opened_from_then_on(table):
    pool = await table.running(rules(2))
    code = pool.removesuffix("-1")
    old = await table.node.seat(pool, "ann", "open")
    edited = table.office.terms(Item(1, "mug", 10, group_buy=rules(4)))
    await table.office.life.edit(code, 1, edited, "ops")
    await table.office.in_force(code, 2)
    new = await table.node.seat(pool, "bob", "open")
    await table.node.is_applied()
    sizes = []
    for group in (old, new):
        shown = await table.node.stores.queries.shown_group(parse_reservation_id(group))
        sizes.append(shown.record.rules.size)
    assert sizes == [2, 4]
    (item,) = (await table.office.show(code)).live.terms.items
    assert item.group_buy == rules(4)


async def test_a_campaign_that_ends_early_gives_back_what_its_groups_leave(table):
    pool = await table.running(rules(3, life_seconds=2))
    group = await table.node.seat(pool, "ann", "open")
    await table.pay(group)
    assert await table.office.course.end(pool.removesuffix("-1"), "boss")

    async def nothing_is_left_to_take() -> bool:
        await table.site.relay.round()
        total, available, *_, locked = await table.site.counters(pool)
        return total < 10 and not available and not locked

    await eventually(nothing_is_left_to_take, "the relay has taken what nobody has")
    for _ in range(5):
        await table.node.is_applied()
        await table.site.relay.round()
    assert await table.site.pending(), "it waits for the group, whose units may come back"
    await table.group_fails(group)
    await table.site.carried_out()
    assert (await table.site.counters(pool))[0] == 0
    assert (await table.site.stock("mug", "north"))["available"] == 50
    await table.site.adds_up()


@pytest.mark.parametrize("deduct", ["pay", "form"])
async def test_what_happens_to_groups_is_told_once(table, deduct):
    await table.webhooks.create("http://shop.example/hook", ["group.*"])
    tiers = [{"seats": 2, "price_minor": 900}]
    pool = await table.running(rules(2, type="super", tiers=tiers, deduct=deduct))
    formed = await table.node.seat(pool, "ann", "open")
    joined = await table.node.seat(pool, "bob", formed)
    await table.pay(formed)
    await table.pay(joined)
    left = await table.node.seat(pool, "cy", "open")
    heir = await table.node.seat(pool, "dee", left)
    await table.pay(left)
    await table.leave(left)
    await table.leave(heir)
    await asyncio.gather(*(GroupNews(table.site.engine).catch_up() for _ in range(3)))
    await table.news.catch_up()
    told = await table.told()
    assert [topic for topic, _ in told] == [
        "group.opened",
        "group.joined",
        "group.joined",
        "group.formed",
        "group.opened",
        "group.joined",
        "group.member_left",
        "group.opener_passed",
        "group.member_left",
        "group.failed",
    ]
    opened, first, second, whole, _, _, refunded, passed, gone, failed = [data for _, data in told]
    assert (opened["group"], opened["opener"]["buyer"], opened["size"]) == (formed, "buyer-ann", 2)
    assert opened["type"] == "super"
    assert first["member"]["payment_ref"] == f"pay-{formed}"
    assert second["member"]["reservation"] == joined
    assert [one["buyer"] for one in whole["members"]] == ["buyer-ann", "buyer-bob"]
    assert (whole["paid"], whole["price_minor"], whole["parts"]) == (2, 900, 1)
    (member,) = refunded["members"]
    assert (member["reservation"], member["refund_due"], refunded["reason"]) == (left, True, "left")
    assert member["payment_ref"] == f"pay-{left}"
    assert (passed["group"], passed["opener"]["reservation"]) == (left, heir)
    assert (gone["members"][0]["reservation"], gone["members"][0]["refund_due"]) == (heir, False)
    assert (failed["group"], failed["reason"]) == (left, "abandoned")


async def test_an_order_costs_what_its_group_reached(table):
    tiers = [{"seats": 2, "price_minor": 900}, {"seats": 3, "price_minor": 800}]
    pool = await table.running(rules(3, type="super", tiers=tiers, seats_per_buyer=2))
    seats = [await table.node.seat(pool, "ann", "open")]
    for buyer in ("bob", "cy"):
        seats.append(await table.node.seat(pool, buyer, seats[0]))
        await table.pay(seats[-1])
    assert await table.costs(seats[-1]) == (None, PRICE_MINOR), "nobody knows yet"
    await table.pay(seats[0])
    assert [await table.costs(seat) for seat in seats] == [(800, 800)] * 3
    other = await table.running(rules(2))
    first = await table.node.seat(other, "dee", "open")
    await table.pay(first)
    assert await table.costs(first) == (PRICE_MINOR, PRICE_MINOR), "where there are no tiers"


async def test_members_of_a_failed_group_are_told_what_is_due_back(table):
    await table.webhooks.create("http://shop.example/hook", ["group.failed", "group.member_left"])
    pool = await table.running(rules(3, life_seconds=2))
    group = await table.node.seat(pool, "ann", "open")
    await table.node.seat(pool, "bob", group)
    await table.pay(group)
    await table.group_fails(group)
    await table.news.catch_up()
    told = await table.told()
    (failed,) = [data for topic, data in told if topic == "group.failed"]
    assert (failed["group"], failed["reason"], failed["size"]) == (group, "deadline", 3)
    members = {
        member["buyer"]: (member["refund_due"], data["reason"])
        for topic, data in told
        if topic == "group.member_left"
        for member in data["members"]
    }
    assert members["buyer-ann"] == (True, "group_failed")
    assert members.keys() <= {"buyer-ann", "buyer-bob"}


async def test_nobody_is_told_of_what_the_ledger_refused(table):
    await table.webhooks.create("http://shop.example/hook", ["*"])
    pool = await table.running(rules(2))
    await table.news.catch_up()
    async with reading(table.site.engine) as connection:
        before = (await connection.execute(select(group_news_cursors))).one()
    await table.node.seat(pool, "ann", "open")
    await table.node.is_applied()
    async with writing(table.site.engine) as connection:
        await connection.execute(
            quarantine.insert(),
            {
                "shard": 0,
                "generation": before.generation,
                "seq": before.seq + 2,
                "kind": "held",
                "pool": pool,
                "payload": "",
                "error": "a test says so",
                "recorded_at_ms": 1,
                "pool_paused": False,
            },
        )
    await table.news.catch_up()
    assert await table.told() == []


async def test_a_reader_that_comes_late_changes_nothing(table):
    """What two read at once is told by the one that moves the position."""
    await table.webhooks.create("http://shop.example/hook", ["group.*"])
    pool = await table.running(rules(2))
    await table.node.seat(pool, "ann", "open")
    await table.node.is_applied()
    assert await table.news.catch_up() == 1
    async with writing(table.site.engine) as connection:
        await connection.execute(update(group_news_cursors).values(generation=0, seq=0))
        await connection.execute(webhook_deliveries.delete())
    late = GroupNews(table.site.engine)
    position = await late._position(0)
    assert await table.news.catch_up() == 1

    async def as_before(shard: int) -> Position:
        assert shard == 0
        return position

    late._position = as_before  # type: ignore[method-assign]
    assert await late.tell_some(0) is None
    assert len(await table.told()) == 2
