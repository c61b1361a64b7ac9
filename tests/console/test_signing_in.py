"""Who is let in, for how long, and whose forms are taken."""

from __future__ import annotations

import httpx
import pytest

from tests.console.conftest import Shop
from tests.console.visitor import TOKEN, Visitor, paths


def forms_of(shop: Shop) -> list[str]:
    """Every target of a form that changes something."""
    parts = {"pool": "mugs", "code": shop.campaign, "reservation": shop.hold, "item": "1"}
    found = paths("POST", webhook=shop.webhook, **parts)
    return [path for path in found if "/sign-" not in path]


def everything(shop: Shop) -> tuple[object, ...]:
    """What no refused form may change."""
    campaigns = [shop.api("GET", f"/v1/campaigns/{code}") for code in (shop.campaign, shop.draft)]
    hold = shop.api("GET", f"/v1/reservations/{shop.hold}")
    changes = shop.api("GET", "/v1/ops/audit?via=console&limit=1000")["items"]
    return shop.pool("mugs"), campaigns, hold["state"], len(changes)


def test_nobody_sees_anything_before_signing_in(shop: Shop):
    visitor = shop.visitor()
    for path in paths("GET", pool="mugs", code=shop.campaign, reservation=shop.hold):
        if not path.endswith("/sign-in"):
            response = visitor.client.get(path)
            assert response.status_code == 303, path
            assert response.headers["location"].startswith("/console/sign-in"), path


@pytest.mark.parametrize(
    ("key", "status"), [("fsk_no-such-key", 401), ("", 401), ("é" * 20, 401), ("x" * 600, 401)]
)
def test_a_wrong_key_is_told_and_lets_nobody_in(shop: Shop, key: str, status: int):
    visitor = shop.visitor()
    response = visitor.sign_in(key)
    assert response.status_code == status
    assert 'role="alert"' in response.text
    assert not key or key not in response.text
    assert visitor.client.get("/console").status_code == 303


def test_a_shops_key_is_not_enough(shop: Shop):
    visitor = shop.visitor()
    assert visitor.sign_in(shop.keys["storefront"]).status_code == 403
    assert visitor.client.get("/console").status_code == 303


def test_an_ops_key_leads_to_where_one_wanted_to_go_and_never_elsewhere(shop: Shop):
    for wanted, led in (
        ("/console/pools?q=mu", "/console/pools?q=mu"),
        ("https://evil.example/console", "/console"),
        ("//evil.example/console", "/console"),
        ("/console/\\evil.example", "/console"),
        ("/consolation", "/console"),
    ):
        visitor = shop.visitor()
        fields = {"key": shop.keys["ops"], "next": wanted}
        response = visitor.send("/console/sign-in", "/console/sign-in", **fields)
        assert (response.status_code, response.headers["location"]) == (303, led)


def test_the_cookie_is_for_our_own_pages_only_and_has_no_key_in_it(shop: Shop):
    visitor = shop.visitor()
    response = visitor.sign_in(shop.keys["ops"])
    (cookie,) = response.headers.get_list("set-cookie")
    assert {"HttpOnly", "Path=/console", "SameSite=strict", "Max-Age=1800"} <= set(
        cookie.split("; ")
    )
    assert shop.keys["ops"] not in cookie
    assert "Secure" not in cookie
    behind_tls = {"origin": shop.url.replace("http:", "https:")}
    fields = {"key": shop.keys["ops"], "form_token": visitor.token("/console/pools")}
    answer = visitor.client.post("/console/sign-in", data=fields, headers=behind_tls)
    assert "Secure" in answer.headers["set-cookie"]


def test_a_session_is_another_one_after_signing_in(shop: Shop):
    visitor = shop.visitor()
    before = visitor.token("/console/sign-in")
    visitor.sign_in(shop.keys["ops"])
    assert visitor.token() != before


def test_signing_out_ends_it(shop: Shop):
    visitor = shop.visitor("ops")
    visitor.get("/console")
    assert visitor.send("/console/sign-out").status_code == 303
    assert visitor.client.get("/console").status_code == 303


def test_a_changed_cookie_is_worth_nothing(shop: Shop):
    visitor = shop.visitor("ops")
    cookie = visitor.cookie
    visitor.client.cookies.clear()
    headers = {"cookie": f"flashstock_console={cookie[:-2]}xx"}
    assert httpx.get(f"{shop.url}/console", headers=headers, timeout=60).status_code == 303
    headers = {"cookie": f"flashstock_console={cookie}"}
    assert httpx.get(f"{shop.url}/console", headers=headers, timeout=60).status_code == 200


def test_a_revoked_key_ends_its_sessions(shop: Shop):
    key = shop.api("POST", "/v1/keys", {"name": "leaving", "role": "ops"})["key"]
    visitor = shop.visitor()
    visitor.sign_in(key)
    visitor.get("/console")
    token = visitor.token()
    shop.api("DELETE", "/v1/keys/leaving")
    assert visitor.client.get("/console").status_code == 303
    before = shop.pool("mugs")
    sent = {"form_token": token}
    answer = visitor.client.post(
        "/console/pools/mugs/pause", data=sent, headers={"origin": shop.url}
    )
    assert answer.status_code in (303, 403)
    assert shop.pool("mugs") == before


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "", "sec-fetch-site": "cross-site"},
        {"origin": "", "sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_no_form_from_elsewhere_does_anything(shop: Shop, headers: dict[str, str]):
    visitor = shop.visitor("admin")
    before = everything(shop)
    for path in forms_of(shop):
        response = visitor.send(path, headers=headers, units="1", what="add", revision="1")
        assert response.status_code == 403, path
    assert everything(shop) == before


@pytest.mark.parametrize("token", ["", "0" * 32, "of another session"])
def test_no_form_without_the_sessions_token_does_anything(shop: Shop, token: str):
    visitor = shop.visitor("admin")
    before = everything(shop)
    if token.startswith("of"):
        token = shop.visitor("admin").token()
    for path in [*forms_of(shop), "/console/sign-out"]:
        response = visitor.send(path, form_token=token, units="1", what="add", revision="1")
        assert response.status_code == 403, path
    assert everything(shop) == before
    visitor.get("/console")


def test_a_browser_that_names_no_origin_may_still_be_ours(shop: Shop):
    visitor = shop.visitor("ops")
    headers = {"origin": "", "sec-fetch-site": "same-origin"}
    assert visitor.send("/console/sign-out", headers=headers).status_code == 303


def test_a_form_is_a_form(shop: Shop):
    visitor = shop.visitor("ops")
    sent = {"form_token": visitor.token()}
    headers = {"origin": shop.url}
    answer = visitor.client.post("/console/pools/mugs/pause", json=sent, headers=headers)
    assert answer.status_code == 415
    large = {**sent, "what": "x" * 70_000}
    answer = visitor.client.post("/console/pools/mugs/pause", data=large, headers=headers)
    assert answer.status_code == 413


def test_what_takes_an_admin_takes_an_admin(shop: Shop):
    path = f"/console/webhooks/{shop.webhook}/enable"
    assert shop.visitor("ops").send(path).status_code == 403
    assert shop.visitor("admin").send(path).status_code == 303


def test_the_token_of_the_sign_in_page_is_asked_for(shop: Shop):
    visitor = Visitor(shop.url)
    page = visitor.get("/console/sign-in")
    assert TOKEN.search(page)
    fields = {"key": shop.keys["ops"], "form_token": "0" * 32}
    answer = visitor.client.post("/console/sign-in", data=fields, headers={"origin": shop.url})
    assert answer.status_code == 403
