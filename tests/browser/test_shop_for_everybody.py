"""The shop's pages for whoever comes, however he comes, and when not everything works."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.browser.accessibility import findings, too_wide
from tests.browser.buying import counts, press, start_sale, status, ticks_down
from tests.browser.conftest import PATIENCE_MS, PHONE, SMALL_PHONE, Visitors

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]


def test_a_busy_shop_is_asked_again_with_the_same_wish(visitors: Visitors):
    visitors.expected = ("status of 503",)
    page = visitors.page()
    start_sale(page)
    status(page, "On sale")
    wishes = sent_to(page, "buy")
    busy = True

    def answer(route: Route) -> None:
        if not busy:
            route.continue_()
            return
        problem = {"code": "overloaded", "title": "Too many", "detail": "Too many"}
        # The longest that a page waits: it is looked at meanwhile.
        route.fulfill(status=503, headers={"Retry-After": "8"}, json=problem)

    page.route("**/buy", answer)
    press(page, "Buy one")
    status(page, "The shop is busy: trying again")
    expect(page.locator("#detail")).to_contain_text("It is the same request")
    assert findings(page) == []
    busy = False
    status(page, "One unit is held for you")
    assert len(wishes) >= 2
    assert len({wish.post_data for wish in wishes}) == 1
    counts(page, available=2, held=1)


def test_an_answer_that_is_lost_costs_no_second_unit(visitors: Visitors):
    visitors.expected = ("net::ERR_FAILED",)
    page = visitors.page()
    start_sale(page, Units_per_buyer=3)
    status(page, "On sale")
    lost: list[int] = []

    def lose_the_first(route: Route) -> None:
        if lost:
            route.continue_()
            return
        answer = route.fetch(timeout=PATIENCE_MS)
        if answer.status == 503:
            route.fulfill(response=answer)  # it is asked again
            return
        lost.append(answer.status)  # the shop has done it
        route.abort()

    page.route("**/buy", lose_the_first)
    press(page, "Buy one")
    status(page, "One unit is held for you")
    assert lost == [201]
    counts(page, available=2, held=1)


def test_a_shop_that_is_away_is_said_so(visitors: Visitors):
    visitors.expected = ("net::ERR_FAILED",)
    page = visitors.page()
    start_sale(page)
    status(page, "On sale")
    page.route("**/state", lambda route: route.abort())
    expect(page.locator("#detail")).to_contain_text("can't be reached right now")
    page.unroute("**/state")
    expect(page.locator("#detail")).not_to_contain_text("can't be reached")


def test_a_wrong_clock_of_the_visitors_changes_nothing(visitors: Visitors):
    page = visitors.page()
    page.add_init_script("const real = Date.now; Date.now = () => real() + 3_600_000;")
    start_sale(page, Opens_in=600)
    status(page, "Not open yet")
    expect(page.locator("#clock")).to_have_text(re.compile(r"(0[5-9]:|10:00)"))
    expect(page.locator("#clock-note")).to_contain_text("ahead; the shop's counts")
    expect(page.locator("#fairness")).to_contain_text("spreads the first requests over 2.0 s")


def test_the_keyboard_is_enough(visitors: Visitors):
    page = visitors.page(viewport=PHONE)
    page.goto("/demo")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab_to(page, "Units")
    for number in ("2", "0", "600", "1", "0", "3600"):
        page.keyboard.press("Control+A")
        page.keyboard.type(number)
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Start it")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/demo/sales/*")
    status(page, "On sale")
    tab_to(page, "Buy one")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "one sees where the focus is"
    page.keyboard.press("Enter")
    status(page, "One unit is held for you")
    # The button stays where the focus is, and is another one now: a slip of a key pays nothing.
    tab_to(page, "Let it go")
    page.keyboard.press("Space")
    status(page, "You let it go")
    assert page.evaluate("document.activeElement !== document.body"), "the focus is not lost"


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the focus is there."""
    for _ in range(25):
        focused = page.evaluate(
            "(e => e.labels?.[0]?.textContent ?? e.textContent)(document.activeElement)"
        )
        if str(focused).strip() == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never came to {name!r}")


def test_what_ticks_is_not_read_aloud(page: Page):
    start_sale(page)
    press(page, "Buy one")
    status(page, "One unit is held for you")
    page.evaluate(
        """() => {
          window.said = [];
          const note = (changes) => window.said.push(...changes.map((c) => c.target.textContent));
          const live = [...document.querySelectorAll("[aria-live], [role=status], [role=alert]")];
          const how = { childList: true, characterData: true, subtree: true };
          live.forEach((e) => new MutationObserver(note).observe(e, how));
        }"""
    )
    left = page.get_by_role("timer", name="Time left to pay")
    for _ in range(2):
        ticks_down(left)
    assert page.evaluate("window.said") == []
    press(page, "Pay")
    status(page, "Paid: it is yours")
    assert "Paid: it is yours" in page.evaluate("window.said")


def test_other_pages_are_in_order_and_fit_a_small_phone(visitors: Visitors):
    visitors.expected = ("status of 404",)
    page = visitors.page(viewport=SMALL_PHONE)
    for path in ("/demo", "/demo/sales/none"):
        page.goto(path)
        assert findings(page) == []
        assert too_wide(page) == []


def test_a_sale_fits_a_small_phone(visitors: Visitors):
    page = visitors.page(viewport=SMALL_PHONE)
    start_sale(page)
    press(page, "Buy one")
    status(page, "One unit is held for you")
    assert too_wide(page) == []
    assert findings(page) == []


def test_nothing_of_the_page_comes_from_elsewhere(page: Page):
    hosts = set()
    page.on("request", lambda one: hosts.add(one.url.split("/")[2]))
    start_sale(page)
    status(page, "On sale")
    assert hosts == {page.url.split("/")[2]}
    assert json.loads(page.evaluate("JSON.stringify(Object.keys(sessionStorage))")) == []


def sent_to(page: Page, verb: str) -> list[Request]:
    """The requests for it from here on, as they go out."""
    sent: list[Request] = []
    page.on("request", lambda one: sent.append(one) if one.url.endswith(f"/{verb}") else None)
    return sent
