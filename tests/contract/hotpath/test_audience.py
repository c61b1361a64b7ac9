"""Who may buy, and through which channels: decided from what the caller attests."""

from __future__ import annotations

import pytest

from flashstock.hotpath.scripts import ConfigureStatus, Verdict
from flashstock.model.eligibility import Attests
from flashstock.model.records import unpack_record
from flashstock.model.states import PoolState
from tests.reference.asking import create, hold, key, reserve, target
from tests.reference.subjects import START_MS

NEW = Attests(new_buyer=True)
NAMED = Attests(named=True)
LEVEL_9, LEVEL_10 = Attests(level=9), Attests(level=10)
APP, WEB = Attests(channel="app"), Attests(channel="web")
NOBODY = Attests()
HELD, REPLAYED, REFUSED = Verdict.HELD, Verdict.REPLAYED, Verdict.NOT_ELIGIBLE


async def ask(store, *attested, first=1):
    """One request of a unit for each; ``None`` attests nothing. Nobody: without the column."""
    packed = ["" if said is None else said.packed() for said in attested]
    numbers = range(first, first + len(attested))
    return await store.reserve(
        "p",
        len(packed),
        [key(number) for number in numbers],
        [f"buyer {number}" for number in numbers],
        ["1"] * len(packed),
        packed if any(packed) else None,
    )


def verdicts_of(reply):
    return [Verdict(digit - ord("0")) for digit in reply.verdicts]


@pytest.mark.parametrize(
    ("rules", "let_in", "refused"),
    [
        ({}, [NEW, NAMED, LEVEL_10, APP, NOBODY, None], []),
        ({"audience": "new"}, [NEW], [NAMED, LEVEL_10, APP, NOBODY, None]),
        ({"audience": "named"}, [NAMED], [NEW, LEVEL_10, APP, NOBODY, None]),
        ({"audience": "level:10"}, [LEVEL_10, Attests(level=99)], [LEVEL_9, NEW, NOBODY, None]),
        ({"audience": "level:9"}, [LEVEL_9, LEVEL_10], [Attests(level=8), None]),
        ({"channels": "app"}, [APP], [WEB, NEW, Attests(channel="ap"), NOBODY, None]),
        ({"channels": "app,web"}, [APP, WEB], [Attests(channel="apps"), NOBODY, None]),
        ({"channels": "a.p"}, [Attests(channel="a.p")], [APP]),
        (
            {"audience": "new", "channels": "app"},
            [Attests(new_buyer=True, channel="app")],
            [NEW, APP, None],
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
async def test_only_who_fits_is_let_in(subject, store, rules, let_in, refused):
    await create(store, **rules)
    reply = await ask(store, *refused, *let_in)
    assert verdicts_of(reply) == [REFUSED] * len(refused) + [HELD] * len(let_in)
    told = (rules.get("audience", ""), rules.get("channels", "")) if refused else ("", "")
    assert (reply.audience, reply.channels) == told
    assert (await store.snapshot("p")).counters.held == len(let_in)


async def test_who_is_refused_hears_it_where_nothing_at_all_is_attested(store):
    await create(store, audience="new")
    assert verdicts_of(await reserve(store, "p", (1, "a", 1), (2, "b", 1))) == [REFUSED] * 2


async def test_a_replay_is_answered_whatever_the_rules_say(store):
    await create(store, audience="new")
    first = await ask(store, NEW)
    for said in (None, NAMED):
        again = await ask(store, said)
        assert verdicts_of(again) == [REPLAYED]
        assert unpack_record(again.replays[0].decode()).seq == first.first_seq


async def test_what_is_attested_is_asked_after_the_window_and_before_the_limit(store):
    await create(store, total=1, audience="new", per_buyer_limit=1, starts_at_ms=START_MS + 1)
    assert verdicts_of(await ask(store, None)) == [Verdict.NOT_STARTED]
    await store.configure("p", {"starts_at_ms": "0", "per_buyer_limit": "1"}, created=None)
    two_units = [key(7)], ["a"], ["2"]
    assert verdicts_of(await store.reserve("p", 2, *two_units)) == [REFUSED]
    assert verdicts_of(await store.reserve("p", 2, *two_units, [NEW.packed()])) == [
        Verdict.BUYER_LIMIT
    ]


async def test_the_rules_of_a_live_pool_change_from_this_moment_on(subject, store):
    await create(store)
    await hold(store, "p", (1, "a", 1))
    changes = {"audience": "level:3", "channels": "app,web"}
    status, snapshot = await store.configure("p", changes, created=None)
    assert status is ConfigureStatus.CONFIGURED
    assert (snapshot.rules.audience, snapshot.rules.channels) == ("level:3", "app,web")
    assert verdicts_of(await ask(store, None, first=5)) == [REFUSED]
    assert verdicts_of(await ask(store, Attests(level=3, channel="web"), first=6)) == [HELD]
    status, _ = await store.configure("p", changes, created=None)
    assert status is ConfigureStatus.UNCHANGED
    await store.configure("p", {"audience": "", "channels": ""}, created=None)
    assert verdicts_of(await ask(store, None, first=7)) == [HELD]
    _, event = (await subject.state(["p"])).log[-2]
    assert event.rules.audience == ""


@pytest.mark.parametrize("said", [None, WEB])
async def test_a_cart_with_a_line_for_others_is_refused_as_a_whole(subject, store, said):
    await create(store, "p", audience="new", channels="app")
    await create(store, "q")
    before = await subject.state(["p", "q"])
    lines = [("q", key(1), 1), ("p", key(2), 1)]
    reply = await store.reserve_cart(0, "cart", "a", lines, said.packed() if said else "")
    assert [line.verdict for line in reply.lines] == [HELD, REFUSED]
    assert (reply.lines[1].audience, reply.lines[1].channels) == ("new", "app")
    assert (reply.held, reply.lines[1].record) == (False, None)
    assert await subject.state(["p", "q"]) == before


async def test_a_cart_is_held_for_who_fits_and_replayed_for_anyone(store):
    await create(store, "p", audience="new", channels="app")
    await create(store, "q")
    lines = [("q", key(1), 1), ("p", key(2), 1)]
    said = Attests(new_buyer=True, channel="app").packed()
    assert (await store.reserve_cart(0, "cart", "a", lines, said)).held
    again = await store.reserve_cart(0, "cart", "a", lines)
    assert [line.verdict for line in again.lines] == [REPLAYED, REPLAYED]


async def test_a_hold_is_paid_whoever_is_let_in_now(store):
    await create(store)
    await hold(store, "p", (1, "a", 1))
    await store.configure("p", {"audience": "named"}, created=None)
    paid = await store.confirm(target("p", 1), "pay")
    assert paid.record.payment_ref == "pay"


async def test_a_closed_pool_says_so_to_everyone(store):
    await create(store, audience="new", state=PoolState.CLOSED)
    assert verdicts_of(await ask(store, None, NEW)) == [Verdict.ENDED] * 2
