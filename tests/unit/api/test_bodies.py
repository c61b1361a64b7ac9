"""What answers look like."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock import errors
from flashstock.api.bodies import (
    cart_body,
    format_time,
    pool_body,
    receipt_stamp,
    refusal_of,
    reservation_body,
)
from flashstock.api.documents import CartDocument, PoolDocument, ReservationDocument
from flashstock.api.problems import problem_document
from flashstock.api.schemas import parse_time
from flashstock.hotpath.scripts import Verdict
from flashstock.model.rules import NO_DEADLINE_MS, TIME_MS_MAX, PoolCounters, PoolRules, Wave
from flashstock.model.states import DeductMode, ReservationState
from flashstock.service.carts import CartAnswer
from flashstock.service.views import PoolView, ReservationView
from tests.unit.api.fakes import NOW_MS, SIGNER, batch_reply, record, reservation_view

RESERVATION = "campaign-1~0123456789abcdef"


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (1, "1970-01-01T00:00:00.001Z"),
        (1_795_311_438_974, "2026-11-22T01:37:18.974Z"),
        (1_795_311_438_000, "2026-11-22T01:37:18.000Z"),
        (TIME_MS_MAX, "2286-11-20T17:46:39.999Z"),
    ],
)
def test_times_have_three_digits_and_a_zone(time_ms, text):
    assert format_time(time_ms) == text


@given(st.integers(1, TIME_MS_MAX))
def test_a_time_we_wrote_can_be_read_back(time_ms):
    assert parse_time(format_time(time_ms)) == time_ms


def test_a_hold():
    body = reservation_body(reservation_view(RESERVATION), SIGNER)
    receipt = body.pop("receipt")
    assert body == {
        "id": RESERVATION,
        "pool": "campaign-1",
        "buyer": "buyer-42",
        "quantity": 2,
        "state": "held",
        "expires_at": "2026-11-22T01:52:18.974Z",
    }
    claims = SIGNER.verify(receipt)
    assert claims is not None
    assert (claims.reservation_id, claims.buyer, claims.quantity) == (RESERVATION, "buyer-42", 2)
    assert (claims.deadline_ms, claims.generation, claims.seq) == (NOW_MS + 900_000, 1, 7)


def test_the_receipt_does_not_depend_on_the_state():
    held = reservation_body(reservation_view(RESERVATION), SIGNER)
    paid = reservation_body(
        reservation_view(RESERVATION, state=ReservationState.CONFIRMED, payment_ref="p"), SIGNER
    )
    assert held["receipt"] == paid["receipt"]
    assert held["receipt"] == SIGNER.sign(
        RESERVATION, "buyer-42", 2, receipt_stamp(NOW_MS + 900_000, "1", 7)
    )


def test_a_sale_names_its_payment_and_its_order():
    sold = record(state=ReservationState.CONFIRMED, payment_ref="pay-1", order_index=9, returned=1)
    body = reservation_body(ReservationView(RESERVATION, sold, NOW_MS, "12345678905"), SIGNER)
    assert (body["payment_ref"], body["order_no"], body["returned"]) == ("pay-1", "12345678905", 1)
    ReservationDocument.model_validate_json(_json(body), strict=False)


def test_a_hold_without_a_deadline_has_none_to_show():
    body = reservation_body(reservation_view(RESERVATION, deadline_ms=NO_DEADLINE_MS), SIGNER)
    assert (body["state"], body["expires_at"]) == ("held", None)
    ReservationDocument.model_validate_json(_json(body), strict=False)


def test_what_is_ordered_stays_so_past_its_deadline():
    view = reservation_view(RESERVATION, state=ReservationState.ORDERED, deadline_ms=NOW_MS)
    body = reservation_body(view, SIGNER)
    assert (body["state"], body["expires_at"]) == ("ordered", format_time(NOW_MS))
    ReservationDocument.model_validate_json(_json(body), strict=False)


def test_a_hold_past_its_deadline_is_expired():
    body = reservation_body(reservation_view(RESERVATION, deadline_ms=NOW_MS), SIGNER)
    assert body["state"] == "expired"


def test_a_pool_shows_nothing_where_nothing_is_set():
    view = PoolView("p", PoolRules(sku="s"), PoolCounters(10, 6, 2, 1, 1), NOW_MS)
    body = pool_body(view)
    assert body == {
        "id": "p",
        "sku": "s",
        "state": "open",
        "total": 10,
        "available": 6,
        "held": 2,
        "sold": 1,
        "locked": 1,
        "per_buyer_limit": None,
        "hold_seconds": 900,
        "starts_at": None,
        "ends_at": None,
        "durability": "ledger",
        "waves": [],
        "audience": None,
        "channels": [],
        "deduct": "hold",
        "group_buy": None,
    }
    PoolDocument.model_validate_json(_json(body))


def test_a_pool_shows_what_is_set():
    rules = PoolRules("s", per_buyer_limit=2, starts_at_ms=1, ends_at_ms=2, waves=(Wave(1, 5),))
    body = pool_body(PoolView("p", rules, PoolCounters(), NOW_MS))
    assert body["per_buyer_limit"] == 2
    assert body["starts_at"] == "1970-01-01T00:00:00.001Z"
    assert body["ends_at"] == "1970-01-01T00:00:00.002Z"
    assert body["waves"] == [{"at": "1970-01-01T00:00:00.001Z", "quantity": 5}]


def test_a_pool_shows_who_may_buy_and_how():
    rules = PoolRules("s", audience="level:3", channels="app,web", deduct=DeductMode.PAYMENT)
    body = pool_body(PoolView("p", rules, PoolCounters(), NOW_MS))
    shown = (body["audience"], body["channels"], body["deduct"])
    assert shown == ("level:3", ["app", "web"], "payment")
    PoolDocument.model_validate_json(_json(body))


def test_a_cart():
    body = cart_body(CartAnswer("c", "b", (reservation_view(RESERVATION),), False), SIGNER)
    assert body["id"] == "c"
    assert [one["id"] for one in body["reservations"]] == [RESERVATION]
    CartDocument.model_validate_json(_json(body))


@pytest.mark.parametrize(
    "verdict", [one for one in Verdict if one not in (Verdict.HELD, Verdict.REPLAYED)]
)
def test_every_refusing_verdict_has_its_problem(verdict):
    error = refusal_of(int(verdict), "p", batch_reply(starts_at_ms=NOW_MS + 5, audience="new"))
    codes = {"mismatch": "idempotency_mismatch", "group_unknown": "unknown_group"}
    assert error.code == codes.get(verdict.name.lower(), verdict.name.lower())
    assert error.extra["pool"] == "p"


def test_sold_out_says_when_more_comes():
    error = refusal_of(Verdict.SOLD_OUT, "p", batch_reply(available=1, next_wave_ms=NOW_MS + 250))
    document = problem_document(error)
    assert (document["available"], document["retry_after_ms"]) == (1, 250)
    assert "retry_after_ms" not in problem_document(refusal_of(3, "p", batch_reply()))


def test_not_started_says_when():
    error = refusal_of(Verdict.NOT_STARTED, "p", batch_reply(starts_at_ms=NOW_MS + 1_026))
    assert error.extra["starts_at"] == "2026-11-22T01:37:20.000Z"
    assert error.extra["retry_after_ms"] == 1_026


def test_the_buyer_limit_says_how_many():
    error = refusal_of(Verdict.BUYER_LIMIT, "p", batch_reply(per_buyer_limit=2))
    assert isinstance(error, errors.BuyerLimit)
    assert error.extra["per_buyer_limit"] == 2


@pytest.mark.parametrize(
    ("attests", "member", "value", "words"),
    [
        ("1000app", "audience", "level:3", "level 3"),
        ("1003", "channels", ["app", "web"], "app, web"),
        ("", "channels", ["app", "web"], "app, web"),
    ],
)
def test_who_is_not_eligible_hears_of_the_rule(attests, member, value, words):
    batch = batch_reply(audience="level:3", channels="app,web")
    error = refusal_of(Verdict.NOT_ELIGIBLE, "p", batch, attests)
    assert isinstance(error, errors.NotEligible)
    assert error.extra == {"pool": "p", "available": 0, member: value}
    assert words in error.detail


def _json(body):
    import orjson

    return orjson.dumps(body)


def test_the_time_of_the_fixtures_is_what_it_seems():
    assert datetime.fromtimestamp(NOW_MS / 1000, UTC).year == 2026
