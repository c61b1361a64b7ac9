"""Group-buys at the edge: what is taken, what is asked of the services, what is answered."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flashstock.api import schemas
from flashstock.api.bodies import group_buy_body
from flashstock.api.bodies_groups import progress_body, seat_refusal_of
from flashstock.api.documents import GroupBuyDocument, ReservationDocument
from flashstock.api.documents_groups import GroupDocument, GroupPage
from flashstock.api.requests_groups import decode_join, decode_open
from flashstock.api.schemas_groups import GroupBuyRequest, JoinGroupRequest, OpenGroupRequest
from flashstock.api.strict_json import parse_json
from flashstock.errors import InvalidRequest, UnknownPool
from flashstock.hotpath.asking import Verdicted
from flashstock.hotpath.scripts import Verdict
from flashstock.model.group_rules import GroupRules, GroupType, PriceTier, parse_group_rules
from flashstock.model.states import GroupState, ReservationState
from tests.unit.api.fakes import NOW_MS, record, seats_reply
from tests.unit.api.routes import RESERVATION, assert_problem, send

READERS: dict[str, Any] = {
    "open": (decode_open, OpenGroupRequest),
    "join": (decode_join, JoinGroupRequest),
}
SENT = {
    "open": {"pool": "campaign-1", "buyer": "b", "quantity": 2, "match": True},
    "join": {"buyer": "b", "quantity": 2},
}
ATTESTS = {"new_buyer": True, "named": False, "level": 3, "channel": "app"}
GROUP = "0" * 16


def agree(kind: str, body: bytes) -> Any:
    """What the lean reader and the model make of a body, which must be one thing."""
    lean, model = READERS[kind]
    try:
        said: Any = model.model_validate(parse_json(body)).model_dump()
    except InvalidRequest as refusal:
        said = refusal
    except ValidationError as problem:
        found = problem.errors(include_url=False)
        said = schemas.invalid_request([{**one, "loc": ("body", *one["loc"])} for one in found])
    if isinstance(said, InvalidRequest):
        with pytest.raises(InvalidRequest) as refused:
            lean(body)
        assert (refused.value.detail, refused.value.extra) == (said.detail, said.extra)
        return said
    read = msgspec.to_builtins(lean(body))
    defaults = {"quantity": 1, **({"match": False} if kind == "open" else {})}
    if read.get("attests") is not None:
        nothing = {"new_buyer": False, "named": False, "level": 0, "channel": None}
        read["attests"] = {**nothing, **read["attests"]}
    assert {**defaults, **read} == said
    return said


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"attests": ATTESTS}, {"attests": {"new_buyer": True}}, {"attests": None}, {"buyer": "é"}],
    ids=repr,
)
def test_good_bodies_are_read_alike(kind, changes):
    assert not isinstance(agree(kind, json.dumps({**SENT[kind], **changes}).encode()), Exception)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("left_out", ["quantity", "match"])
def test_what_has_a_default_may_be_left_out(kind, left_out):
    body = {name: value for name, value in SENT[kind].items() if name != left_out}
    assert not isinstance(agree(kind, json.dumps(body).encode()), Exception)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("open", {"pool": ""}),
        ("open", {"match": 1}),
        ("open", {"match": None}),
        ("join", {"pool": "p"}),
        ("join", {"match": True}),
        *((kind, {"quantity": value}) for kind in READERS for value in (0, 1.0, "1", None)),
        *((kind, {"buyer": value}) for kind in READERS for value in ("", "a\tb", None)),
        *((kind, {"attests": {"level": 100}}) for kind in READERS),
        *((kind, {"extra": 1}) for kind in READERS),
    ],
    ids=repr,
)
def test_bad_bodies_are_refused_alike(kind, changes):
    assert isinstance(agree(kind, json.dumps({**SENT[kind], **changes}).encode()), InvalidRequest)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("open", b'{"pool":"p","buyer":"b","buyer":"c"}'),
        ("open", b'{"pool":"p","buyer":"b","match":true,"match":true}'),
        ("join", b'{"buyer":"b","quantity":1,"quantity":2}'),
        ("join", b'{"buyer":"b","attests":{"level":1,"level":1}}'),
    ],
)
def test_a_name_that_stands_twice_is_refused(kind, body):
    assert isinstance(agree(kind, body), InvalidRequest)


@given(
    kind=st.sampled_from(sorted(READERS)),
    body=st.dictionaries(
        st.sampled_from(["pool", "buyer", "quantity", "match", "attests"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just({"level": 1}),
    ),
)
def test_any_body_is_judged_alike(kind, body):
    agree(kind, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 1}, "greater than or equal to 2"),
        ({"size": 1_001}, "less than or equal to 1000"),
        ({"seats_per_buyer": 4}, "seats_per_buyer must not be more than size"),
        ({"house_max": 3}, "house_max must be less than size"),
        ({"tiers": [{"seats": 2, "price_minor": 5}]}, "tiers: only a super group"),
        ({"type": "super", "tiers": [{"seats": 4, "price_minor": 5}]}, "tiers: one takes more"),
        (
            {
                "type": "super",
                "tiers": [{"seats": 2, "price_minor": 5}, {"seats": 3, "price_minor": 5}],
            },
            "tiers: each takes more seats and costs less",
        ),
    ],
)
def test_rules_that_contradict_each_other(changes, words):
    with pytest.raises(ValidationError, match=words):
        GroupBuyRequest.model_validate({"size": 3, **changes})


@pytest.mark.parametrize(
    "asked",
    [
        {"size": 2},
        {"size": 3, "groups_per_buyer": 2, "open_max": 5, "house_max": 1, "deduct": "form"},
        {
            "size": 10,
            "life_seconds": 3_600,
            "type": "super",
            "seats_per_buyer": 10,
            "tiers": [{"seats": 2, "price_minor": 1990}, {"seats": 10, "price_minor": 1490}],
        },
    ],
)
def test_rules_are_kept_as_they_were_asked_for(asked):
    rules = GroupBuyRequest.model_validate(asked).rules()
    assert rules.problem() == ""
    assert parse_group_rules(rules.text) == rules
    shown = group_buy_body(rules.text)
    assert shown is not None
    assert {name: shown[name] for name in asked} == asked
    GroupBuyDocument.model_validate(shown)


def test_a_pool_of_groups_has_no_deduct_of_its_own():
    pool = {"id": "p", "sku": "s", "quantity": 1, "group_buy": {"size": 2}, "deduct": "payment"}
    from flashstock.api.schemas_pools import PoolRequest

    with pytest.raises(ValidationError, match="group_buy: has a deduct of its own"):
        PoolRequest.model_validate(pool)
    rules = PoolRequest.model_validate({**pool, "deduct": "hold"}).pool_rules()
    assert parse_group_rules(rules.group_buy).size == 2


def test_the_next_price_says_what_is_missing():
    rules = GroupRules(
        size=5, life_ms=1_000, type=GroupType.SUPER, tiers=(PriceTier(2, 20), PriceTier(5, 10))
    )
    group = seats_reply().group(GROUP)
    assert group is not None
    early = progress_body(replace(group, rules_text=rules.text, paid=1, pending=2), NOW_MS)
    assert (early["price_minor"], early["next_price"]["missing"]) == (None, 1)
    assert (early["missing"], early["free_seats"]) == (4, 2)
    later = progress_body(replace(group, rules_text=rules.text, paid=2), NOW_MS)
    assert (later["price_minor"], later["next_price"]["price_minor"]) == (20, 10)
    formed = replace(group, rules_text=rules.text, paid=3, house=2, state=GroupState.FORMED)
    ended = progress_body(formed, NOW_MS)
    assert (ended["price_minor"], ended["next_price"], ended["time_left_ms"]) == (10, None, 0)


async def test_what_is_asked_of_the_lanes(fakes):
    async with fakes.client("storefront") as client:
        await send(client, "POST", "/v1/groups", {"pool": "campaign-1", "buyer": "b"})
        matched = {"pool": "campaign-1", "buyer": "b", "match": True, "attests": ATTESTS}
        await send(client, "POST", "/v1/groups", matched)
        joined = await send(client, "POST", f"/v1/groups/{RESERVATION}/join", SENT["join"])
    assert fakes.seats.wanted == ["open", "match", f"join:{RESERVATION.rpartition('~')[2]}"]
    assert [asked[1:] for asked in fakes.seats.asked] == [("b", 1), ("b", 1), ("b", 2)]
    assert fakes.seats.attested[0] == ""
    assert "app" in fakes.seats.attested[1]
    assert joined.status_code == 201
    body = joined.json()
    assert (body["state"], body["group"]) == ("held", f"campaign-1~{GROUP}")
    assert body["group_now"]["free_seats"] == 2
    ReservationDocument.model_validate(body)


async def test_a_replay_of_a_seat_says_so(fakes):
    seat = record(cart=f"g:{GROUP}").pack().encode()
    fakes.seats.outcome = Verdicted(int(Verdict.REPLAYED), seats_reply(groups={}), seat)
    async with fakes.client("storefront") as client:
        response = await send(client, "POST", f"/v1/groups/{RESERVATION}/join", SENT["join"])
    assert response.status_code == 200
    assert response.headers["idempotency-replayed"] == "true"
    assert response.json()["group"] == f"campaign-1~{GROUP}"


@pytest.mark.parametrize("state", [ReservationState.HELD, ReservationState.ORDERED])
async def test_a_seat_just_taken_is_what_its_replay_will_say(fakes, state):
    """To the letter, receipt included; it is put together in another way."""
    asked = {"buyer": record().buyer, "quantity": record().quantity}
    seat = record(state=state, cart=f"g:{GROUP}").pack().encode()
    bodies = []
    async with fakes.client("storefront") as client:
        for verdict in (Verdict.HELD, Verdict.REPLAYED):
            fakes.seats.outcome = Verdicted(int(verdict), seats_reply(), seat)
            response = await send(client, "POST", f"/v1/groups/{RESERVATION}/join", asked)
            bodies.append(response.json())
    assert bodies[0] == bodies[1]
    assert bodies[0]["state"] == state.value


@pytest.mark.parametrize(
    ("verdict", "status", "code"),
    [
        (Verdict.GROUP_UNKNOWN, 404, "unknown_group"),
        (Verdict.GROUP_FULL, 409, "group_full"),
        (Verdict.GROUP_OVER, 409, "group_over"),
        (Verdict.SEATS_LIMIT, 409, "seats_limit"),
        (Verdict.GROUPS_LIMIT, 409, "groups_limit"),
        (Verdict.OPEN_LIMIT, 409, "open_limit"),
        (Verdict.SOLD_OUT, 409, "sold_out"),
        (Verdict.MISMATCH, 422, "idempotency_mismatch"),
    ],
)
async def test_a_refused_seat_has_its_problem(fakes, verdict, status, code):
    fakes.seats.outcome = Verdicted(int(verdict), seats_reply(), None)
    async with fakes.client("storefront") as client:
        path = f"/v1/groups/campaign-1~{GROUP}/join"
        problem = assert_problem(await send(client, "POST", path, SENT["join"]), status, code)
    if code in ("group_full", "group_over"):
        assert (problem["group"], problem["size"]) == (f"campaign-1~{GROUP}", 3)
    assert fakes.services.counters.take_refusals() == {("campaign-1", verdict.name.lower()): 1}


def test_every_refusing_verdict_has_its_problem():
    for verdict in Verdict:
        if verdict > Verdict.REPLAYED:
            refusal = seat_refusal_of(int(verdict), "p", GROUP, seats_reply(), "")
            assert refusal.status in (404, 409, 422)


@pytest.mark.parametrize("group", ["nothing", "a~b", f"{RESERVATION}~x"])
async def test_what_is_no_group_id_names_no_group(fakes, group):
    async with fakes.client("storefront") as client:
        response = await send(client, "POST", f"/v1/groups/{group}/join", SENT["join"])
    assert_problem(response, 404, "unknown_group")


async def test_a_group_of_an_unknown_pool_is_unknown(fakes):
    fakes.seats.outcome = UnknownPool(pool="campaign-1")
    async with fakes.client("storefront") as client:
        joined = await send(client, "POST", f"/v1/groups/{RESERVATION}/join", SENT["join"])
        opened = await send(client, "POST", "/v1/groups", SENT["open"])
    assert_problem(joined, 404, "unknown_group")
    assert_problem(opened, 404, "unknown_pool")


async def test_groups_are_shown(fakes):
    async with fakes.client("storefront") as client:
        found = (await client.get(f"/v1/groups/{RESERVATION}")).json()
        page = (await client.get("/v1/groups?pool=campaign-1&limit=5")).json()
        bad = await client.get("/v1/groups?pool=campaign-1&after=x")
    GroupDocument.model_validate(found)
    GroupPage.model_validate(page)
    assert found["members"][0]["opener"] is True
    assert ("page", "campaign-1", "", 5) in fakes.groups.asked
    assert_problem(bad, 422, "invalid_request")
