"""From a draft to the end, on real stores."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from flashstock.campaigns.terms import CODE_PATTERN, Item, RevisionState, State
from flashstock.errors import (
    CampaignItemFixed,
    CampaignOutdated,
    IdempotencyMismatch,
    InsufficientStock,
    InvalidRequest,
    OwnSubmission,
    WrongCampaignState,
)
from flashstock.model.rules import Wave
from tests.campaigns.offers import HOUR_MS, Office


@pytest.fixture
async def office(site) -> Office:
    made = Office(site)
    await site.locations("north", "south")
    await made.goods("mug", north=30, south=20)
    return made


async def steps(office: Office, code: str) -> list[tuple[str, str]]:
    return [(step.action, step.actor) for step in await office.views.steps(code, 0, 100)]


async def test_a_whole_life(office):
    terms = office.terms(Item(1, "mug", 40), per_buyer_limit=5)
    code, new = await office.life.draft(terms, "ops", "key")
    assert new
    assert re.match(CODE_PATTERN, code)
    assert (await office.show(code)).state is State.DRAFT
    assert await office.life.submit(code, 1, "ops")
    assert (await office.show(code)).state is State.SUBMITTED
    assert await office.life.approve(code, 1, "boss", is_admin=False)
    assert (await office.show(code)).state is State.APPROVED
    await office.site.adds_up()
    await office.site.carried_out()
    shown = await office.show(code)
    assert shown.state is State.LIVE
    (item,) = shown.items
    assert item.shelf.counters["available"] == 40
    assert item.item.title == "mug"
    assert item.item.price_minor == 1_000
    pool = f"{code}-1"
    await office.site.sell(pool, "ann", 3)
    assert await office.course.end(code, "boss")
    await office.site.carried_out()
    assert (await office.show(code)).state is State.ENDED
    assert await office.site.counters(pool) == (3, 0, 0, 3, 0)
    north = await office.site.stock("mug", "north")
    south = await office.site.stock("mug", "south")
    assert north["available"] + south["available"] == 47
    await office.site.adds_up()
    assert await steps(office, code) == [
        ("draft", "ops"),
        ("submit", "ops"),
        ("approve", "boss"),
        ("end", "boss"),
    ]


async def test_time_schedules_and_ends_it(office):
    now = office.clock()
    code = await office.running(
        Item(1, "mug", 10), starts_at_ms=now + HOUR_MS, ends_at_ms=now + 2 * HOUR_MS
    )
    assert (await office.show(code)).state is State.SCHEDULED
    office.clock.ahead_ms = HOUR_MS + 1
    assert (await office.show(code)).state is State.LIVE
    office.clock.ahead_ms = 2 * HOUR_MS + 1
    assert (await office.show(code)).state is State.ENDED
    assert await office.closing.round()
    assert not await office.closing.round()
    await office.site.relay.round()
    pool = await office.site.node.stores.store.snapshot(f"{code}-1")
    assert pool.rules.state.value == "open", "the pool goes by its own clock"
    assert (await steps(office, code))[-1] == ("end", "flashstock")


async def test_a_campaign_whose_time_is_over_gives_everything_back(office):
    code = await office.running(Item(1, "mug", 10), ends_at_ms=office.clock() + 1_500)
    office.clock.ahead_ms = HOUR_MS
    await office.closing.round()
    await office.site.carried_out()
    assert await office.site.stock("mug", "north") == {"on_hand": 30, "available": 30}
    assert (await office.show(code)).state is State.ENDED


async def test_the_same_key_writes_it_down_once(office):
    terms = office.terms(Item(1, "mug", 40))
    first = await office.life.draft(terms, "ops", "key")
    assert await office.life.draft(terms, "ops", "key") == (first[0], False)
    with pytest.raises(IdempotencyMismatch):
        await office.life.draft(replace(terms, name="other"), "ops", "key")
    assert (await office.life.draft(terms, "other", "key"))[1]


async def test_nobody_approves_what_he_submitted_unless_an_admin(office):
    code = await office.draft(Item(1, "mug", 40))
    with pytest.raises(WrongCampaignState):
        await office.life.approve(code, 1, "boss", is_admin=False)
    assert await office.life.submit(code, 1, "ops")
    assert not await office.life.submit(code, 1, "ops")
    with pytest.raises(OwnSubmission):
        await office.life.approve(code, 1, "ops", is_admin=False)
    assert await office.life.approve(code, 1, "ops", is_admin=True)
    assert not await office.life.approve(code, 1, "ops", is_admin=True)
    await office.site.carried_out()
    assert await office.site.counters(f"{code}-1") == (40, 40, 0, 0, 0)


async def test_all_items_are_set_aside_or_none(office):
    await office.goods("cup", north=5)
    code = await office.draft(Item(1, "mug", 40), Item(2, "cup", 6))
    await office.life.submit(code, 1, "ops")
    with pytest.raises(InsufficientStock):
        await office.life.approve(code, 1, "boss", is_admin=False)
    assert (await office.show(code)).state is State.SUBMITTED
    assert await office.site.stock("mug", "north") == {"on_hand": 30, "available": 30}
    assert await office.site.pending() == []


async def test_stock_comes_from_the_chosen_places_only(office):
    code = await office.running(Item(1, "mug", 15), places=("south",))
    assert await office.site.allotted(f"{code}-1") == {("mug", "south"): 15}
    other = await office.draft(Item(1, "mug", 6), places=("south",))
    await office.life.submit(other, 1, "ops")
    with pytest.raises(InsufficientStock):
        await office.life.approve(other, 1, "boss", is_admin=False)


async def test_an_edit_changes_nothing_before_it_is_approved(office):
    code = await office.running(Item(1, "mug", 10), per_buyer_limit=2)
    terms = office.terms(Item(1, "mug", 15, price_minor=900), per_buyer_limit=3)
    with pytest.raises(CampaignOutdated):
        await office.life.edit(code, 2, terms, "ops")
    assert await office.life.edit(code, 1, terms, "ops") == 2
    with pytest.raises(CampaignOutdated):
        await office.life.edit(code, 1, terms, "ops")
    await office.life.submit(code, 2, "ops")
    await office.site.carried_out()
    pool = f"{code}-1"
    assert (await office.site.sql_pool(pool)).per_buyer_limit == 2
    assert await office.site.counters(pool) == (10, 10, 0, 0, 0)
    before_ms = office.clock()
    assert await office.life.approve(code, 2, "boss", is_admin=False)
    await office.site.carried_out()
    assert (await office.site.sql_pool(pool)).per_buyer_limit == 3
    assert await office.site.counters(pool) == (15, 15, 0, 0, 0)
    assert (await office.views.item_at(code, 1, before_ms)).item.price_minor == 1_000
    now = await office.views.item_at(code, 1, None)
    assert (now.revision, now.item.price_minor) == (2, 900)
    await office.site.adds_up()


async def test_a_rejected_revision_leaves_what_is_in_force(office):
    code = await office.running(Item(1, "mug", 10))
    await office.life.edit(code, 1, office.terms(Item(1, "mug", 5)), "ops")
    await office.life.submit(code, 2, "ops")
    assert await office.life.reject(code, 2, "too few", "boss")
    shown = await office.show(code)
    assert (shown.state, shown.live.number) == (State.LIVE, 1)
    assert (shown.latest.state, shown.latest.reason) == (RevisionState.REJECTED, "too few")
    with pytest.raises(WrongCampaignState):
        await office.life.approve(code, 2, "boss", is_admin=False)


async def test_stock_is_never_lowered_below_what_buyers_hold(office):
    code = await office.running(Item(1, "mug", 10))
    pool = f"{code}-1"
    await office.site.node.hold(pool, "ann", 6)
    await office.site.node.is_applied()
    await office.life.edit(code, 1, office.terms(Item(1, "mug", 5)), "ops")
    await office.life.submit(code, 2, "ops")
    with pytest.raises(InsufficientStock):
        await office.life.approve(code, 2, "boss", is_admin=False)
    await office.life.edit(code, 2, office.terms(Item(1, "mug", 6)), "ops")
    await office.life.submit(code, 3, "ops")
    await office.life.approve(code, 3, "boss", is_admin=False)
    await office.site.carried_out()
    assert await office.site.counters(pool) == (6, 0, 6, 0, 0)
    await office.site.adds_up()


async def test_items_come_and_go_under_numbers_of_their_own(office):
    await office.goods("cup", north=10)
    code = await office.running(Item(1, "mug", 10))
    await office.life.edit(code, 1, office.terms(Item(2, "cup", 4)), "ops")
    await office.in_force(code, 2)
    assert await office.site.counters(f"{code}-1") == (0, 0, 0, 0, 0)
    assert await office.site.counters(f"{code}-2") == (4, 4, 0, 0, 0)
    assert (await office.site.sql_pool(f"{code}-1")).state == "closed"
    terms = office.terms(Item(1, "mug", 10), Item(2, "cup", 4))
    await office.life.edit(code, 2, terms, "ops")
    await office.life.submit(code, 3, "ops")
    with pytest.raises(CampaignItemFixed):
        await office.life.approve(code, 3, "boss", is_admin=False)
    await office.life.edit(code, 3, office.terms(Item(2, "mug", 4)), "ops")
    await office.life.submit(code, 4, "ops")
    with pytest.raises(CampaignItemFixed):
        await office.life.approve(code, 4, "boss", is_admin=False)


async def test_more_is_added_while_it_is_live(office):
    code = await office.running(Item(1, "mug", 10))
    assert await office.course.add(code, 1, 15, "ops", "more")
    assert not await office.course.add(code, 1, 15, "ops", "more")
    with pytest.raises(IdempotencyMismatch):
        await office.course.add(code, 1, 16, "ops", "more")
    with pytest.raises(InsufficientStock):
        await office.course.add(code, 1, 26, "ops", "too much")
    await office.site.carried_out()
    assert await office.site.counters(f"{code}-1") == (25, 25, 0, 0, 0)
    # A new revision says how many there are in all: those that were added count.
    await office.life.edit(code, 1, office.terms(Item(1, "mug", 25), name="other"), "ops")
    await office.in_force(code, 2)
    assert await office.site.counters(f"{code}-1") == (25, 25, 0, 0, 0)


async def test_pausing_and_resuming(office):
    code = await office.running(Item(1, "mug", 10))
    assert await office.course.pause(code, "ops")
    assert not await office.course.pause(code, "ops")
    await office.site.carried_out()
    assert (await office.show(code)).state is State.PAUSED
    assert (await office.site.sql_pool(f"{code}-1")).state == "paused"
    terms = office.terms(Item(1, "mug", 10), Item(2, "mug", 5))
    await office.life.edit(code, 1, terms, "ops")
    await office.in_force(code, 2)
    assert (await office.site.sql_pool(f"{code}-2")).state == "paused"
    assert await office.course.resume(code, "ops")
    await office.site.carried_out()
    assert (await office.show(code)).state is State.LIVE
    for number in (1, 2):
        assert (await office.site.sql_pool(f"{code}-{number}")).state == "open"


async def test_void_gives_everything_back_and_only_before_it_begins(office):
    begun = await office.running(Item(1, "mug", 10))
    with pytest.raises(WrongCampaignState):
        await office.course.void(begun, "ops")
    later = {"starts_at_ms": office.clock() + HOUR_MS, "ends_at_ms": office.clock() + 2 * HOUR_MS}
    code = await office.running(Item(1, "mug", 40), **later)
    assert await office.course.void(code, "ops")
    assert not await office.course.void(code, "ops")
    await office.site.carried_out()
    assert (await office.show(code)).state is State.VOID
    assert await office.site.counters(f"{code}-1") == (0, 0, 0, 0, 0)
    with pytest.raises(WrongCampaignState):
        await office.life.edit(code, 1, office.terms(Item(1, "mug", 1)), "ops")
    draft = await office.draft(Item(1, "mug", 1))
    assert await office.course.void(draft, "ops")
    await office.site.adds_up()


async def test_waves_are_withheld_and_changed_without_a_leak(office):
    soon = office.clock() + HOUR_MS // 2
    code = await office.running(Item(1, "mug", 10, waves=(Wave(soon, 4), Wave(soon + 5, 3))))
    pool = f"{code}-1"
    assert await office.site.counters(pool) == (10, 3, 0, 0, 7)
    item = Item(1, "mug", 20, waves=(Wave(soon, 4), Wave(soon + 5, 3), Wave(soon + 9, 8)))
    await office.life.edit(code, 1, office.terms(item), "ops")
    await office.life.submit(code, 2, "ops")
    await office.life.approve(code, 2, "boss", is_admin=False)
    while await office.site.pending():
        await office.site.relay.round()
        await office.site.node.is_applied()
        assert (await office.site.counters(pool))[1] <= 5, "not even for a moment"
    assert await office.site.counters(pool) == (20, 5, 0, 0, 15)


async def test_the_limit_across_items_shows_in_the_ids_of_the_pools(office):
    items = (Item(1, "mug", 4), Item(2, "mug", 4))
    code = await office.running(*items, limit_across_items=True, per_buyer_limit=3)
    assert await office.site.counters(f"{code}:2") == (4, 4, 0, 0, 0)
    await office.life.edit(code, 1, office.terms(*items), "ops")
    await office.life.submit(code, 2, "ops")
    with pytest.raises(CampaignItemFixed):
        await office.life.approve(code, 2, "boss", is_admin=False)


async def test_a_bundle_sets_its_components_aside(office):
    await office.site.sku("set")
    await office.goods("cup", south=30)
    await office.bundles.create("set", {"mug": 1, "cup": 2}, "ops")
    code = await office.running(Item(1, "set", 12))
    assert await office.site.counters(f"{code}-1") == (12, 12, 0, 0, 0)
    allotted = await office.site.allotted(f"{code}-1")
    assert allotted == {("cup", "south"): 24, ("mug", "south"): 12}
    other = await office.draft(Item(1, "set", 4))
    await office.life.submit(other, 1, "ops")
    with pytest.raises(InsufficientStock):
        await office.life.approve(other, 1, "boss", is_admin=False)
    assert await office.course.end(code, "ops")
    await office.site.carried_out()
    assert await office.site.stock("cup", "south") == {"on_hand": 30, "available": 30}
    await office.site.adds_up()


async def test_what_was_sold_is_what_it_was_then(office):
    code = await office.running(Item(1, "mug", 10, title="A mug"))
    pool = f"{code}-1"
    await office.site.sell(pool, "ann")
    await office.life.edit(code, 1, office.terms(Item(1, "mug", 10, price_minor=5)), "ops")
    await office.in_force(code, 2)
    await office.site.sell(pool, "bob")
    await office.site.node.is_applied()
    sold = {}
    for buyer in ("ann", "bob"):
        order = await office.site.order_of(pool, buyer)
        sold[buyer] = await office.views.sold_as(order)
    assert (sold["ann"].item.title, sold["ann"].item.price_minor) == ("A mug", 1_000)
    assert (sold["bob"].revision, sold["bob"].item.price_minor) == (2, 5)


async def test_units_that_come_back_after_the_end_go_to_the_book(office):
    code = await office.running(Item(1, "mug", 10))
    pool = f"{code}-1"
    await office.site.sell(pool, "ann", 4)
    await office.course.end(code, "ops")
    await office.site.carried_out()
    target = office.site.reservation(pool, "ann")
    await office.site.node.reservations.return_sale("shop", "back", target, 3)
    await office.site.node.is_applied()
    await office.settled()
    assert await office.site.counters(pool) == (1, 0, 0, 1, 0)
    await office.site.adds_up()


async def test_an_unknown_sku_is_refused_at_once(office):
    with pytest.raises(InvalidRequest):
        await office.draft(Item(1, "nothing", 1))


async def test_pages(office):
    codes = sorted([await office.draft(Item(1, "mug", 1)) for _ in range(3)])
    page = await office.views.page("", 2)
    assert [shown.campaign.code for shown in page] == codes[:2]
    assert [s.campaign.code for s in await office.views.page(codes[1], 2)] == codes[2:]
