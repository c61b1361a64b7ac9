"""The shop over HTTP, as the scripts of its pages use it, on a real service."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from flashstock.client import BlockingClient, CampaignItem, CampaignOrder, StockLine
from tests.acceptance.processes import Service, eventually, run_flashstock, serving

pytestmark = pytest.mark.acceptance

HTML = {"accept": "text/html"}


def open_sale(visitor: httpx.Client, **numbers: int) -> str:
    """The sale's pool."""
    usual = {"units": 2, "opens_in_seconds": 0, "hold_seconds": 600, "per_buyer_limit": 1}
    answer = visitor.post("/demo/sales", data={**usual, **numbers})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("/")[2]


def buy(visitor: httpx.Client, pool: str, key: str = "") -> httpx.Response:
    body = {"key": key or uuid4().hex, "quantity": 1}
    return visitor.post(f"/demo/sales/{pool}/buy", json=body)


def units(visitor: httpx.Client, pool: str) -> tuple[int, int, int]:
    found = visitor.get(f"/v1/pools/{pool}").json()
    return found["available"], found["held"], found["sold"]


@pytest.fixture
def rival(service: Service) -> Iterator[httpx.Client]:
    with service.client() as rival:
        rival.get("/demo")
        yield rival


def test_whoever_starts_the_service_is_told_where_the_shop_is(service):
    assert f"buy at {service.url}/demo" in service.log()


def test_buy_and_pay(visitor):
    pool = open_sale(visitor)
    held = buy(visitor, pool)
    assert held.status_code == 201, held.text
    hold = held.json()
    assert hold["state"] == "held"
    assert units(visitor, pool) == (1, 1, 0)
    assert visitor.get(f"/demo/reservations/{hold['id']}").json()["receipt"] == hold["receipt"]
    first, again = (
        visitor.post(f"/demo/reservations/{hold['id']}/pay", json={}).json() for _ in range(2)
    )
    assert (first["state"], again["state"]) == ("confirmed", "confirmed")
    assert first["order_no"] == again["order_no"] is not None
    assert units(visitor, pool) == (1, 0, 1)


def test_the_same_wish_again_is_the_same_hold(visitor):
    pool = open_sale(visitor, per_buyer_limit=2)
    first, again = buy(visitor, pool, "one-wish"), buy(visitor, pool, "one-wish")
    assert first.json()["id"] == again.json()["id"]
    assert units(visitor, pool) == (1, 1, 0)


def test_a_key_is_the_visitors_own(visitor, rival):
    pool = open_sale(visitor)
    mine, his = buy(visitor, pool, "one-wish"), buy(rival, pool, "one-wish")
    assert mine.json()["id"] != his.json()["id"]


def test_what_is_let_go_is_there_for_others(visitor, rival):
    pool = open_sale(visitor, units=1)
    hold = buy(visitor, pool).json()
    refused = buy(rival, pool)
    assert (refused.status_code, refused.json()["code"]) == (409, "sold_out")
    state = rival.get(f"/demo/sales/{pool}/state").json()
    assert (state["phase"], state["held"]) == ("sold_out", 1)
    let_go = visitor.post(f"/demo/reservations/{hold['id']}/let-go", json={})
    assert let_go.json()["state"] == "cancelled"
    # That something is sold out may be said for some moments longer.
    eventually(lambda: buy(rival, pool).status_code == 201, "the unit is for sale again")


def test_nobody_has_a_hand_on_anothers_hold(visitor, rival):
    pool = open_sale(visitor)
    hold = buy(visitor, pool).json()["id"]
    for answer in (
        rival.get(f"/demo/reservations/{hold}"),
        rival.post(f"/demo/reservations/{hold}/pay", json={}),
        rival.post(f"/demo/reservations/{hold}/let-go", json={}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_reservation")
    assert units(visitor, pool) == (1, 1, 0)


def test_a_closed_door_says_when_it_opens_and_whose_turn_is_when(visitor):
    pool = open_sale(visitor, opens_in_seconds=3_600)
    state = visitor.get(f"/demo/sales/{pool}/state").json()
    assert state["phase"] == "not_yet"
    assert state["starts_at"] > state["now"]
    assert state["opening"]["spread_ms"] == 2_000
    assert 0 <= state["opening"]["yours_ms"] < 2_000
    refused = buy(visitor, pool)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_started")
    assert 3_000_000 < refused.json()["retry_after_ms"] <= 3_600_000


def test_a_late_payment_is_served_while_there_is_something(visitor, rival):
    pool = f"brief-{uuid4().hex[:8]}"
    brief = {"id": pool, "sku": "s", "quantity": 1, "hold_seconds": 1}
    assert visitor.post("/v1/pools", json=brief).status_code == 201
    hold = buy(visitor, pool).json()

    def is_over() -> bool:
        found = visitor.get(f"/demo/reservations/{hold['id']}").json()
        return bool(found["state"] == "expired")

    eventually(is_over, "the hold is over")
    his = buy(rival, pool)
    assert his.status_code == 201
    assert rival.post(f"/demo/reservations/{his.json()['id']}/pay", json={}).status_code == 200
    late = visitor.post(f"/demo/reservations/{hold['id']}/pay", json={"receipt": hold["receipt"]})
    assert (late.status_code, late.json()["code"]) == (409, "refund_due")
    assert units(visitor, pool) == (0, 0, 1)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"key": "short"}, 422, "invalid_request"),
        ({"key": "x" * 65}, 422, "invalid_request"),
        ({"key": "under_score"}, 422, "invalid_request"),
        ({"key": "long-enough", "quantity": 0}, 422, "invalid_request"),
        ({"key": "long-enough", "quantity": "1"}, 422, "invalid_request"),
        ({"key": "long-enough", "more": 1}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ({"key": "x" * 5_000}, 413, "body_too_large"),
    ],
)
def test_a_wish_that_is_none_is_refused(visitor, body, status, code):
    answer = visitor.post("/demo/sales/any/buy", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/demo/sales", {"data": {"units": 1}}),
        ("/demo/another-buyer", {"data": {"x": ""}}),
        ("/demo/sales/any/buy", {"json": {"key": "long-enough"}}),
        ("/demo/reservations/any/pay", {"json": {}}),
        ("/demo/reservations/any/let-go", {"json": {}}),
    ],
)
def test_another_site_can_do_nothing_here(visitor, path, what, headers):
    answer = visitor.post(path, headers=headers, **what)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_body_of_another_kind_is_refused(visitor):
    plain = {"content-type": "text/plain"}
    answer = visitor.post("/demo/sales/any/buy", content=b'{"key":"long-enough"}', headers=plain)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_a_sale_that_can_not_be_is_refused_in_words(visitor):
    wrong = {"units": "0", "opens_in_seconds": "x", "hold_seconds": "9", "per_buyer_limit": "1"}
    answer = visitor.post("/demo/sales", data=wrong, headers=HTML)
    assert answer.status_code == 422
    assert "Units: a whole number from 1 to 100000" in answer.text
    assert "Opens in (seconds)" in answer.text
    assert "Time to pay" not in answer.text


def test_a_script_without_a_cookie_has_nothing(service):
    with service.client() as stranger:
        answer = stranger.post("/demo/sales/any/buy", json={"key": "long-enough"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_the_cookie_is_kept_from_scripts_and_other_paths(service):
    with service.client() as fresh:
        cookie = fresh.get("/demo").headers["set-cookie"]
        name = fresh.cookies["flashstock_buyer"]
        fresh.get("/demo")
        assert fresh.cookies["flashstock_buyer"] == name, "the buyer stays who he is"
        fresh.post("/demo/another-buyer", data={"x": ""})
        fresh.get("/demo")
        assert fresh.cookies["flashstock_buyer"] != name
    for part in ("HttpOnly", "Path=/demo", "SameSite=lax"):
        assert part in cookie
    assert "Secure" not in cookie


def test_a_made_up_cookie_is_replaced(service):
    with service.client(cookies={"flashstock_buyer": "<b>root"}) as forger:
        page = forger.get("/demo")
    assert "visitor-" in page.headers["set-cookie"]
    assert "<b>root" not in page.text


def test_every_page_keeps_to_itself(visitor):
    pool = open_sale(visitor)
    for path in ("/demo", f"/demo/sales/{pool}", "/demo/static/sale.js", "/demo/nothing"):
        answer = visitor.get(path, headers=HTML)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] in {"no-store", "no-cache"}
        assert "<style" not in answer.text
        assert " style=" not in answer.text


def test_what_is_not_there_is_said_in_the_callers_terms(visitor):
    page = visitor.get("/demo/sales/none", headers=HTML)
    assert page.status_code == 404
    assert "There is no such pool" in page.text
    assert visitor.get("/demo/sales/none").json()["code"] == "unknown_pool"
    assert visitor.get("/demo/nothing").json()["code"] == "unknown_path"
    assert visitor.get("/demo/sales").json()["code"] == "wrong_method"


def test_names_are_shown_as_text_and_looked_up_as_typed(visitor):
    looked = visitor.get("/demo", params={"pool": "<script>alert(1)</script>/.."})
    assert looked.headers["location"] == (
        "/demo/sales/%3Cscript%3Ealert%281%29%3C%2Fscript%3E%2F.."
    )
    found = visitor.get("/demo/sales/%3Cscript%3E", headers=HTML)
    assert found.status_code == 404
    assert "<script>" not in found.text
    assert "&lt;script&gt;" in found.text


def test_a_campaign_shows_its_items_with_their_prices(visitor, service):
    code, pool = live_campaign(service.url)
    page = visitor.get(f"/demo/campaigns/{code}", headers=HTML)
    assert page.status_code == 200
    assert "Tea &amp; time" in page.text
    assert "1,990 EUR" in page.text
    link = f"/demo/sales/{quote(pool, safe='')}?campaign={code}"
    assert link in page.text
    item = visitor.get(link, headers=HTML)
    assert "<h1>A &lt;cup&gt;</h1>" in item.text
    assert "1,990 EUR" in item.text
    hold = buy(visitor, quote(pool, safe="")).json()
    paid = visitor.post(f"/demo/reservations/{quote(hold['id'], safe='')}/pay", json={})
    assert paid.json()["state"] == "confirmed"
    assert visitor.get("/demo/campaigns/NONE", headers=HTML).status_code == 404


def live_campaign(url: str) -> tuple[str, str]:
    """Five cups from the stock book; the campaign's code and its pool."""
    now = datetime.now(UTC).replace(microsecond=0)
    with BlockingClient(url) as operator:
        operator.put_location("main", kind="warehouse", priority=1, regions={})
        operator.import_skus(b"sku,title,price_minor,currency\nCUP,A <cup>,1990,EUR\n", "cups")
        line = StockLine("CUP", "main", 5)
        operator.move("receive", [line], "cups-in", reason="bought", reference="1")
        order = CampaignOrder(
            "Tea & time",
            now - timedelta(minutes=1),
            now + timedelta(hours=1),
            (CampaignItem("CUP", 5),),
            ("main",),
            600,
        )
        code = operator.draft_campaign(order, "tea").code
        operator.submit_campaign(code, 1)
        operator.approve_campaign(code, 1)

        def filled() -> str:
            shelf = operator.campaign(code).items[0]
            return "" if shelf.in_flight or shelf.counters is None else shelf.pool

        return code, eventually(filled, "the campaign's pool has its units")


def test_a_shop_with_a_key_sells_and_shows_no_more_than_its_key_may(tmp_path):
    directory = tmp_path / "data"
    key = run_flashstock("keys", "create", "shop", "--data-dir", str(directory)).stdout
    admin = {"authorization": "Bearer correct-horse-battery"}
    settings = {
        "FLASHSTOCK_ADMIN_KEY": "correct-horse-battery",
        "FLASHSTOCK_STOREFRONT_PAGE": "on",
        "FLASHSTOCK_STOREFRONT_KEY": key.split()[-1],
        "FLASHSTOCK_STOREFRONT_SPREAD_MS": "0",
    }
    with serving(directory, settings=settings) as service, service.client() as visitor:
        visitor.post("/v1/pools", json={"id": "p", "sku": "s", "quantity": 1}, headers=admin)
        window = visitor.get("/demo", headers=HTML)
        assert window.status_code == 200
        assert "Start a sale" not in window.text
        wanted = {"units": 1, "opens_in_seconds": 0, "hold_seconds": 9, "per_buyer_limit": 1}
        refused = visitor.post("/demo/sales", data=wanted)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert visitor.get("/demo/sales/p/state").json()["opening"]["yours_ms"] == 0
        assert buy(visitor, "p").status_code == 201
        assert visitor.delete("/v1/keys/shop", headers=admin).status_code == 200

        def says_so() -> bool:
            return visitor.get("/demo", headers=HTML).status_code == 502

        eventually(says_so, "a shop whose key was revoked says so")
        assert "FLASHSTOCK_STOREFRONT_KEY" in visitor.get("/demo", headers=HTML).text
