"""Every page: with something to show and without, escaped, and with nothing a browser refuses."""

from __future__ import annotations

import hashlib
import re
from html import escape
from html.parser import HTMLParser

import httpx
import pytest

from flashstock.browsers import CONTENT_POLICY
from flashstock.console.rendering import HERE
from tests.acceptance.processes import Service
from tests.console.conftest import BUYER, SKU, Shop
from tests.console.visitor import Visitor, paths


class Refused(HTMLParser):
    """Collects what a browser that keeps to the policy would refuse to run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("style", "base") or (tag == "script" and "src" not in given):
            self.found.append(f"<{tag}>")
        self.found += [name for name in given if name.startswith("on") or name == "style"]
        self.found += [v for v in given.values() if v and v.strip().startswith("javascript:")]


def pages_of(shop: Shop) -> list[str]:
    """Every page there is, of what the shop has."""
    found = paths(
        "GET",
        pool="mugs",
        pool_of_groups="tea",
        group=shop.group,
        code=shop.campaign,
        reservation=shop.hold,
        sku="SKU-1",
        topic="none",
    )
    more = ["?pool=mugs", f"?q={shop.hold}", "?q=nobody", "?pool=mugs&q=nobody"]
    asked = [f"/console/reservations{query}" for query in more]
    asked += ["/console/pools?q=mu", "/console/movements?sku=SKU-1&kind=receive"]
    asked += ["/console/reconciliation?compare=now", "/console/identities?deep=yes"]
    asked += [f"/console/groups?q={shop.group}", f"/console/reservations/{shop.group}"]
    asked += ["/console/pools/tea", "/console/groups/of/tea?after=0~aaaaaaaaaaaaaaaa"]
    asked += ["/console/webhooks?state=all", "/console/refunds?show=all", "/console/audit?via=api"]
    return [path for path in found if "/live/" not in path and "sign-in" not in path] + asked


def test_every_page_shows_what_there_is(shop: Shop):
    visitor = shop.visitor("ops")
    pages = {path: visitor.client.get(path, follow_redirects=True) for path in pages_of(shop)}
    assert {path: page.status_code for path, page in pages.items() if page.status_code != 200} == {}
    for path, page in pages.items():
        assert Refused(page.text).found == [], path
        assert page.headers["content-security-policy"] == CONTENT_POLICY, path
        assert page.headers["cache-control"] == "no-store", path
    assert len(pages) > 20


def test_every_page_is_there_when_there_is_nothing(empty_service: Service):
    visitor = Visitor(empty_service.url)
    absent = {"pool", "pool_of_groups", "group", "code", "reservation", "sku", "topic"}
    for path in paths("GET", **dict.fromkeys(absent, "none")):
        known = not path.endswith("/none") and "/none/" not in path
        response = visitor.client.get(path, follow_redirects=True)
        assert response.status_code == (200 if known else 404), path
        assert response.headers["content-type"].startswith("text/html"), path


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("/console", SKU),
        ("/console/pools", SKU),
        ("/console/pools/mugs", SKU),
        ("/console/reservations?pool=mugs", BUYER),
        ("/console/groups", SKU),
        ("/console/campaigns", "<b>Winter</b>"),
        ("/console/reservations?q=%3Cimg%3E", "<img>"),
    ],
)
def test_what_people_wrote_is_shown_as_text(shop: Shop, page: str, text: str):
    shown = shop.visitor("ops").get(page)
    assert text not in shown
    assert str(escape(text)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in shown


def test_what_is_wrong_is_told_on_a_page_with_the_same_headers(shop: Shop):
    visitor = shop.visitor("ops")
    for path, status in (
        ("/console/nothing", 404),
        ("/console/pools/none", 404),
        ("/console/pools/%3Cscript%3E", 404),
        ("/console/live/none", 404),
        ("/console/live/group/none", 404),
        ("/console/live/groups/a~b", 404),
        ("/console/groups/none", 404),
        ("/console/groups/of/mugs", 409),
        ("/console/groups/of/tea?after=x", 422),
        ("/console/movements?after=x", 422),
    ):
        response = visitor.client.get(path)
        assert response.status_code == status, path
        assert response.headers["content-security-policy"] == CONTENT_POLICY
        assert "<script>" not in response.text
    wrong = visitor.client.put("/console/pools")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, POST")


def test_what_pages_load_is_served_from_here(shop: Shop):
    page = shop.visitor("ops").get("/console")
    loaded = re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page)
    assert len(set(loaded)) >= 5
    for path in loaded:
        answer = httpx.get(f"{shop.url}{path}", timeout=60)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"] == CONTENT_POLICY
    assert "//" not in re.sub(r"<!--.*?-->", "", page).replace("</", "")


def test_what_is_not_ours_is_what_it_is_said_to_be():
    vendor = HERE / "static" / "vendor"
    rows = re.compile(r"`(\S+\.js)` \| `\S+` \| `([0-9a-f]{64})`")
    told = dict(rows.findall((vendor / "README.md").read_text()))
    files = {path.name: path.read_bytes() for path in vendor.glob("*.js")}
    assert told == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert files
    assert (vendor / "htmx.LICENSE.txt").read_text().startswith("Zero-Clause BSD")


def test_the_navigation_says_where_one_is(shop: Shop):
    page = shop.visitor("ops").get("/console/pools/mugs")
    assert re.findall(r'href="([^"]+)" aria-current="page"', page) == ["/console/pools"]
    assert 'href="#main"' in page
    assert 'id="main"' in page


def test_what_a_browser_would_refuse_is_seen():
    page = "<p style=x><script>a()</script><b onclick=a()>b</b><a href='javascript:a()'>"
    assert Refused(page).found == ["style", "<script>", "onclick", "javascript:a()"]


def test_without_keys_everybody_here_is_an_admin_and_nobody_elsewhere(empty_service: Service):
    assert "no API keys" in Visitor(empty_service.url).get("/console")
    elsewhere = {"host": "rebound.example"}
    for path in ("/console", "/console/pools", "/console/sign-in"):
        response = httpx.get(f"{empty_service.url}{path}", headers=elsewhere, timeout=60)
        assert response.status_code == 403, path
        assert response.headers["content-security-policy"] == CONTENT_POLICY
