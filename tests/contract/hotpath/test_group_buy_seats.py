"""Who gets a seat in which group, and who is refused one."""

from __future__ import annotations

import pytest

from flashstock.errors import NotAGroupBuy, UnknownPool
from flashstock.hotpath.scripts import (
    ConfigureStatus,
    Verdict,
)
from flashstock.model.eligibility import Attests
from flashstock.model.events import GroupsOpened, Held, Hold, encode_rules
from flashstock.model.group_rules import GroupDeduct, GroupType
from flashstock.model.records import unpack_record
from flashstock.model.rules import PoolCounters, PoolRules, Wave
from flashstock.model.states import GroupState, ReservationState
from tests.reference import asking
from tests.reference.asking import HOLD_MS, create, key, target
from tests.reference.group_asking import (
    DEADLINE_MS,
    LIFE_MS,
    MATCH,
    OPEN,
    RULES,
    Request,
    group,
    seat,
    seated,
    sell_to_groups,
    take,
    told,
    verdicts,
)
from tests.reference.subjects import RETENTION_MS, START_MS


@pytest.fixture
def store(group_subject):
    return group_subject.store


HELD, REPLAYED, MISMATCH = Verdict.HELD, Verdict.REPLAYED, Verdict.MISMATCH
NEW = Attests(new_buyer=True).packed()


async def test_a_seat_and_its_unit_are_taken_together(group_subject, store):
    await sell_to_groups(store)
    reply = await seated(store, (1, "a", OPEN), (2, "b", 1))
    records = [unpack_record(packed.decode()) for packed in reply.replays]
    assert [record.cart for record in records] == [f"g:{key(1)}"] * 2
    assert (reply.available, reply.ordered) == (8, False)
    assert (await store.snapshot("p")).counters == PoolCounters(10, 8, 2, 0, 0)
    found = (await group(store, 1)).record
    assert found == reply.group(key(1))
    assert (found.state, found.pending, found.missing) == (GroupState.OPEN, 2, 1)
    assert (found.opener, found.deadline_ms, found.rules) == (key(1), DEADLINE_MS, RULES)
    state = await group_subject.state(["p"])
    holds = (Hold(key(1), "a", 1, f"g:{key(1)}"), Hold(key(2), "b", 1, f"g:{key(1)}"))
    assert [event for _, event in state.log[1:]] == [
        GroupsOpened("p", START_MS, DEADLINE_MS, RULES.text, (key(1),)),
        Held("p", START_MS, START_MS + HOLD_MS, holds),
    ]


async def test_where_units_are_taken_later_a_seat_is_ordered(group_subject, store):
    await sell_to_groups(store, total=1, deduct=GroupDeduct.FORM)
    reply = await seated(store, (1, "a", OPEN), (2, "b", 1))
    assert reply.ordered
    assert (await seat(store, 2)).state is ReservationState.ORDERED
    assert (await store.snapshot("p")).counters == PoolCounters(1, 1, 0, 0, 0)
    state = await group_subject.state(["p"])
    assert state.pools["p"].buyers == {}
    assert state.log[2][1].state is ReservationState.ORDERED


async def test_a_seat_ends_with_its_group_at_the_latest(store):
    await sell_to_groups(store, life_ms=HOLD_MS - 1)
    await seated(store, (1, "a", OPEN))
    assert (await seat(store, 1)).deadline_ms == START_MS + HOLD_MS - 1


async def test_a_group_ends_with_its_pool_at_the_latest(store):
    await sell_to_groups(store, pool_rules={"ends_at_ms": START_MS + 7})
    await seated(store, (1, "a", OPEN))
    assert (await group(store, 1)).record.deadline_ms == START_MS + 7


async def test_the_same_request_again_gets_the_same_seat(store):
    await sell_to_groups(store)
    first = await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", MATCH))
    again = await take(store, (1, "a", OPEN), (2, "b", 1), (3, "c", MATCH))
    assert again.verdicts == b"111"
    assert again.replays == first.replays
    assert again.seq == first.seq
    assert await verdicts(store, (4, "a", OPEN), (4, "a", OPEN)) == [HELD, REPLAYED]


@pytest.mark.parametrize(
    ("request_", "units"),
    [((2, "a", 1), 1), ((2, "b", OPEN), 1), ((2, "b", 3), 1), ((2, "b", 1), 2), ((1, "a", 1), 2)],
)
async def test_a_key_is_good_for_one_request(store, request_, units):
    await sell_to_groups(store)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", OPEN))
    assert await verdicts(store, request_, units=units) == [MISMATCH]


async def test_a_plain_key_is_no_seat_and_a_seat_no_plain_key(store):
    await sell_to_groups(store, "p")
    await create(store, "plain")
    await asking.hold(store, "plain", (1, "a", 1))
    assert await verdicts(store, (1, "a", OPEN)) == [MISMATCH]
    await seated(store, (2, "a", OPEN))
    assert await asking.verdicts(store, "plain", (2, "a", 1)) == [MISMATCH]


async def test_a_full_group_lets_nobody_in(store):
    await sell_to_groups(store)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", 1))
    reply = await take(store, (4, "d", 1))
    assert reply.verdicts == bytes([48 + Verdict.GROUP_FULL])
    assert told(reply, 1).missing == 0
    assert (await store.snapshot("p")).counters.held == 3


async def test_a_place_is_free_from_the_moment_its_seat_expires(group_subject, store):
    await sell_to_groups(store)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", 1))
    await store.confirm(target("p", 1), "pay")
    await group_subject.set_clock(START_MS + HOLD_MS - 1)
    assert await verdicts(store, (4, "d", 1)) == [Verdict.GROUP_FULL]
    await group_subject.set_clock(START_MS + HOLD_MS)
    reply = await take(store, (5, "e", 1), (6, "f", MATCH), (7, "g", MATCH))
    assert reply.verdicts == b"000"
    assert list(reply.groups) == [key(1), key(7)]


async def test_nobody_enters_a_group_that_is_over(group_subject, store):
    await sell_to_groups(store)
    await seated(store, (1, "a", OPEN), (2, "b", OPEN))
    await store.cancel(target("p", 2), "cancelled")
    assert await verdicts(store, (3, "c", 2)) == [Verdict.GROUP_OVER]
    await store.confirm(target("p", 1), "pay")
    await group_subject.set_clock(DEADLINE_MS)
    reply = await take(store, (4, "d", 1), (5, "e", MATCH))
    assert reply.verdicts == bytes([48 + Verdict.GROUP_OVER, 48])
    assert told(reply, 1).state is GroupState.OPEN, "it is for others to settle it"
    assert told(reply, 5).opener == key(5)


async def test_nobody_enters_a_group_of_another_pool(store):
    await sell_to_groups(store, "p")
    await sell_to_groups(store, "q")
    await seated(store, (1, "a", OPEN))
    assert await verdicts(store, (2, "b", 1), pool="q") == [Verdict.GROUP_UNKNOWN]
    assert await verdicts(store, (2, "b", 9)) == [Verdict.GROUP_UNKNOWN]
    assert (await store.read_groups("q", [key(1)], 9)).groups == (None,)


async def test_a_buyer_has_so_many_seats_in_a_group(store):
    await sell_to_groups(store, seats_per_buyer=2)
    asked: list[Request] = [(1, "a", OPEN), (2, "a", 1), (3, "a", 1), (4, "b", 1)]
    assert await verdicts(store, *asked) == [HELD, HELD, Verdict.SEATS_LIMIT, HELD]
    await store.cancel(target("p", 2), "cancelled")
    assert await verdicts(store, (5, "a", 1)) == [HELD]


async def test_a_buyer_is_in_so_many_groups_formed_ones_too(group_subject, store):
    await sell_to_groups(store, size=2, groups_per_buyer=2, seats_per_buyer=2)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "a", OPEN), (4, "c", OPEN))
    for number in (1, 2):
        await store.confirm(target("p", number), f"pay {number}")
    refused = [Verdict.GROUPS_LIMIT] * 2
    assert await verdicts(store, (5, "a", OPEN), (6, "a", 4)) == refused
    assert await verdicts(store, (7, "a", 3)) == [HELD], "it is one of the two"
    await store.return_sale(target("p", 1), 0, "back")
    await group_subject.set_clock(DEADLINE_MS + 2 * RETENTION_MS)
    for _ in range(3):
        await store.expire("p", 8)
    assert (await store.read_groups("p", [key(1)], 9)).groups == (None,)
    asked: list[Request] = [(8, "a", OPEN), (9, "a", OPEN)]
    assert await verdicts(store, *asked) == [HELD, Verdict.GROUPS_LIMIT]


async def test_a_pool_has_so_many_open_groups(store):
    await sell_to_groups(store, open_max=2)
    asked: list[Request] = [(1, "a", OPEN), (2, "b", OPEN), (3, "c", OPEN), (4, "c", MATCH)]
    assert await verdicts(store, *asked) == [HELD, HELD, Verdict.OPEN_LIMIT, HELD]
    await store.cancel(target("p", 2), "cancelled")
    assert await verdicts(store, (5, "c", OPEN), (6, "d", OPEN)) == [HELD, Verdict.OPEN_LIMIT]


async def test_whoever_is_matched_gets_into_the_group_nearest_to_full(group_subject, store):
    await sell_to_groups(store, total=20, size=4)
    await seated(store, (1, "a", OPEN), (2, "b", OPEN), (3, "c", OPEN), (4, "d", 3))
    reply = await seated(store, (5, "e", MATCH), (6, "f", MATCH), (7, "c", MATCH))
    assert [(await seat(store, number)).cart for number in (5, 6)] == [f"g:{key(3)}"] * 2
    assert told(reply, 3).missing == 0
    cart = (await seat(store, 7)).cart
    assert cart in {f"g:{key(1)}", f"g:{key(2)}"}, "c has a seat in the nearest one"
    await group_subject.set_clock(START_MS + 1)
    await seated(store, (8, "g", OPEN), (9, "h", 8), (10, "i", 8))
    assert told(await seated(store, (11, "j", MATCH)), 8).missing == 0


async def test_among_equals_the_one_that_ends_first(group_subject, store):
    await sell_to_groups(store)
    await seated(store, (1, "a", OPEN))
    await group_subject.set_clock(START_MS + 1)
    await seated(store, (2, "b", OPEN))
    await seated(store, (3, "c", MATCH))
    assert (await seat(store, 3)).cart == f"g:{key(1)}"


async def test_whoever_fits_nowhere_opens_a_group(store):
    await sell_to_groups(store)
    asked: list[Request] = [(1, "a", MATCH), (2, "a", MATCH), (3, "b", MATCH)]
    reply = await seated(store, *asked)
    assert [unpack_record(packed.decode()).cart for packed in reply.replays[:2]] == [
        f"g:{key(1)}",
        f"g:{key(2)}",
    ]


async def test_a_match_goes_on_to_the_next_page_of_the_list(store):
    """The first page is full of groups that the very batch fills."""
    await sell_to_groups(store, total=500, size=2)
    numbers = range(100, 140)
    await seated(store, *((number, f"a{number}", OPEN) for number in numbers))
    await seated(store, *((number, f"b{number}", MATCH) for number in range(200, 240)))
    found = [(await group(store, number)).record for number in numbers]
    assert {record.missing for record in found} == {0}


async def test_only_newcomers_join_a_group_of_newcomers(store):
    await sell_to_groups(store, type=GroupType.NEWCOMERS)
    assert await verdicts(store, (1, "old", OPEN)) == [HELD]
    reply = await take(store, (2, "b", 1), (3, "c", 1), attests=["", NEW])
    assert reply.verdicts == bytes([48 + Verdict.NOT_ELIGIBLE, 48])
    assert reply.audience == "new"
    reply = await seated(store, (4, "d", MATCH), (5, "e", MATCH), attests=["", NEW])
    assert list(reply.groups) == [key(4), key(1)]


async def test_the_rules_of_the_pool_hold_for_seats(group_subject, store):
    rules = {"per_buyer_limit": 1, "starts_at_ms": START_MS + 1, "ends_at_ms": START_MS + 9}
    await sell_to_groups(store, total=2, pool_rules=rules)
    assert await verdicts(store, (1, "a", OPEN)) == [Verdict.NOT_STARTED]
    await group_subject.set_clock(START_MS + 1)
    asked: list[Request] = [(1, "a", OPEN), (2, "a", OPEN), (3, "b", 1), (4, "c", 1)]
    expected = [HELD, Verdict.BUYER_LIMIT, HELD, Verdict.SOLD_OUT]
    assert await verdicts(store, *asked) == expected
    await store.configure("p", {"state": "paused"}, created=None)
    assert await verdicts(store, (5, "d", OPEN)) == [Verdict.PAUSED]
    await store.configure("p", {"state": "open"}, created=None)
    await group_subject.set_clock(START_MS + 9)
    assert await verdicts(store, (5, "d", OPEN)) == [Verdict.ENDED]


async def test_a_wave_feeds_groups_at_its_moment(group_subject, store):
    waves = (Wave(START_MS + 5, 1),)
    text = RULES.text
    await create(store, "p", total=1, locked=1, waves=waves, group_buy=text)
    assert await verdicts(store, (1, "a", OPEN)) == [Verdict.SOLD_OUT]
    await group_subject.set_clock(START_MS + 5)
    assert await verdicts(store, (1, "a", OPEN)) == [HELD]


async def test_a_pool_sells_to_groups_or_without(store):
    await sell_to_groups(store, "groups")
    await create(store, "plain")
    assert await asking.verdicts(store, "groups", (1, "a", 1)) == [Verdict.GROUP_ONLY]
    cart = await store.reserve_cart(0, "cart", "a", [("groups", key(2), 1)])
    assert [line.verdict for line in cart.lines] == [Verdict.GROUP_ONLY]
    with pytest.raises(NotAGroupBuy):
        await take(store, (1, "a", OPEN), pool="plain")
    with pytest.raises(NotAGroupBuy):
        await store.list_open_groups("plain", 5)
    with pytest.raises(UnknownPool):
        await take(store, (1, "a", OPEN), pool="none")
    with pytest.raises(UnknownPool):
        await store.list_open_groups("none", 5)


async def test_what_a_pool_sells_to_is_fixed(store):
    await sell_to_groups(store, "groups")
    await create(store, "plain")
    for pool, text in (("groups", ""), ("plain", RULES.text)):
        changes = {**encode_rules(PoolRules("other", hold_ms=HOLD_MS)), "group_buy": text}
        status, snapshot = await store.configure(pool, changes, created=None)
        assert status is ConfigureStatus.GROUP_BUY_FIXED
        assert snapshot.rules.sku == "sku"


async def test_a_group_keeps_the_rules_it_was_opened_under(store):
    await sell_to_groups(store)
    await seated(store, (1, "a", OPEN))
    changed = RULES.text.replace("3:", "2:", 1).replace("pay", "form")
    await store.configure("p", {"group_buy": changed}, created=None)
    await seated(store, (2, "b", 1), (3, "c", OPEN), (4, "d", 1), (5, "e", 3))
    assert (await group(store, 1)).record.rules == RULES
    assert (await group(store, 3)).record.missing == 0
    assert (await seat(store, 4)).state is ReservationState.HELD
    assert (await seat(store, 5)).state is ReservationState.ORDERED


async def test_open_groups_are_listed_nearest_to_full_first(group_subject, store):
    await sell_to_groups(store, total=100, size=4)
    await seated(store, (1, "a", OPEN), (2, "b", OPEN), (3, "c", OPEN), (4, "d", 2), (5, "e", 3))
    await seated(store, (6, "f", 3), (7, "g", OPEN), (8, "h", 7), (9, "i", 7), (10, "j", 7))
    first = await store.list_open_groups("p", 2)
    assert [one.digest for one in first.groups] == [key(3), key(2)]
    assert [one.record.missing for one in first.groups] == [1, 2]
    assert first.more
    last = first.groups[-1]
    rest = await store.list_open_groups("p", 2, (last.score, last.digest))
    assert [one.digest for one in rest.groups] == [key(1)]
    assert not rest.more
    await group_subject.set_clock(DEADLINE_MS)
    assert (await store.list_open_groups("p", 2)).groups == ()


async def test_the_list_goes_on_after_a_group_that_has_left_it(store):
    await sell_to_groups(store, total=100)
    await seated(store, *((number, f"a{number}", OPEN) for number in range(1, 6)))
    await seated(store, (10, "b", 4))
    first = await store.list_open_groups("p", 1)
    last = first.groups[0]
    assert last.digest == key(4)
    await seated(store, (11, "c", 4))
    rest = await store.list_open_groups("p", 9, (last.score, last.digest))
    assert {one.digest for one in rest.groups} == {key(number) for number in (1, 2, 3, 5)}


async def test_a_group_is_shown_with_those_who_paid_first(store):
    await sell_to_groups(store, life_ms=LIFE_MS)
    await seated(store, (1, "a", OPEN), (2, "b", 1), (3, "c", 1))
    await store.confirm(target("p", 3), "pay 3")
    await store.confirm(target("p", 2), "pay 2")
    assert [digest for digest, _ in (await group(store, 1)).seats] == [key(3), key(2), key(1)]
    shown = (await store.read_groups("p", [key(1), key(9)], 1)).groups
    assert [digest for digest, _ in shown[0].seats] == [key(3)]
    assert shown[1] is None


async def test_what_has_ended_is_no_further_page(group_subject, store):
    """Nobody has swept; the list passes over what is over, and says "more" of the rest alone."""
    await sell_to_groups(store, total=100)
    await seated(store, *((number, f"a{number}", OPEN) for number in range(1, 8)))
    await group_subject.set_clock(START_MS + 1)
    await seated(store, (8, "b", OPEN), (9, "c", OPEN))
    await group_subject.set_clock(DEADLINE_MS)
    first = await store.list_open_groups("p", 1)
    assert (len(first.groups), first.more) == (1, True)
    last = first.groups[0]
    rest = await store.list_open_groups("p", 1, (last.score, last.digest))
    assert (len(rest.groups), rest.more) == (1, False)
    assert {last.digest, rest.groups[0].digest} == {key(8), key(9)}
    await group_subject.set_clock(DEADLINE_MS + 1)
    assert (await store.list_open_groups("p", 1)).groups == ()
