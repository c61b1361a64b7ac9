"""Journeys of buyers at ``/demo``, each from the door to its end."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, Route, expect

from flashstock.client import BlockingClient, PoolOrder
from flashstock.storefront.opening import delay_ms
from tests.acceptance.processes import Service
from tests.browser.accessibility import findings, too_wide
from tests.browser.conftest import PATIENCE_MS, PHONE, SMALL_PHONE, Visitors
from tests.browser.running_sale import RunningSale

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

SPREAD_MS: Final = 2_000
"""What a shop spreads its opening over unless it is told otherwise."""

expect.set_options(timeout=PATIENCE_MS)


def start_sale(page: Page, **numbers: int) -> str:
    """A sale of one's own, by the form at the door; its page's path."""
    page.goto("/demo")
    usual = {"Units": 3, "Opens in": 0, "Time to pay": 600, "Units per buyer": 1}
    for label, number in (
        usual | {name.replace("_", " "): n for name, n in numbers.items()}
    ).items():
        page.get_by_label(re.compile(rf"^{label}( \(seconds\))?$")).fill(str(number))
    page.get_by_role("button", name="Start it").click()
    page.wait_for_url("**/demo/sales/*")
    return page.url


def status(page: Page, text: str) -> None:
    """Wait until this is what a screen reader was told last."""
    expect(page.get_by_role("status")).to_have_text(text)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def counts(page: Page, **wanted: int) -> None:
    for name, number in wanted.items():
        expect(page.locator(f"#{name}")).to_have_text(str(number))


def sent_to(page: Page, verb: str) -> list[Request]:
    """The requests for it from here on, as they go out."""
    sent: list[Request] = []
    page.on("request", lambda one: sent.append(one) if one.url.endswith(f"/{verb}") else None)
    return sent


def test_wait_for_ones_turn_buy_and_pay(visitors: Visitors):
    page = visitors.page()
    sale = start_sale(page, Opens_in=6)
    turn = become_one_of_the_last(page, sale)
    page.goto(sale)
    status(page, "Not open yet")
    expect(page.get_by_text("Opens in")).to_be_visible()
    expect(page.locator("#fairness")).to_contain_text(
        f"Yours goes out {turn.total_seconds():.1f} s after the opening"
    )
    opens_at = datetime.fromisoformat(told_of(page)["starts_at"])
    assert findings(page) == []
    with page.expect_response("**/buy") as bought:
        press(page, "Buy when it opens")
        status(page, "You are in line")
        assert findings(page) == []
    asked_at = datetime.fromisoformat(bought.value.json()["now"])
    # A page knows the shop's clock as well as answers come and go; the margin is for that.
    assert asked_at >= opens_at + turn - timedelta(seconds=0.75)
    status(page, "One unit is held for you")
    counts(page, available=2, held=1, sold=0)
    assert findings(page) == []
    left = page.get_by_role("timer", name="Time left to pay")
    first = left.inner_text()
    assert re.fullmatch(r"0?9:[0-5]\d|10:00", first)
    expect(left).not_to_have_text(first)
    assert left.inner_text() < first, "it ticks down"
    expect(page.get_by_text("Paying is simulated")).to_be_visible()
    press(page, "Pay")
    status(page, "Paid: it is yours")
    expect(page.locator("#detail")).to_have_text(re.compile(r"Order number \d+\."))
    counts(page, available=2, held=0, sold=1)
    assert findings(page) == []


def become_one_of_the_last(page: Page, sale: str) -> timedelta:
    """Somebody whose turn the shop draws late; when it is, after the opening."""
    pool = sale.rpartition("/")[2]
    names = (f"visitor-{number:020x}" for number in count())
    buyer = next(name for name in names if delay_ms(name, pool, SPREAD_MS) >= 0.8 * SPREAD_MS)
    host = urlsplit(sale).hostname or ""
    page.context.clear_cookies()
    page.context.add_cookies(
        [{"name": "flashstock_buyer", "value": buyer, "domain": host, "path": "/demo"}]
    )
    return timedelta(milliseconds=delay_ms(buyer, pool, SPREAD_MS))


def told_of(page: Page) -> dict[str, Any]:
    """What the page learns of the sale next."""
    with page.expect_response("**/state") as answer:
        pass
    found: dict[str, Any] = answer.value.json()
    return found


def test_buy_and_let_go(page: Page):
    start_sale(page)
    status(page, "On sale")
    press(page, "Buy one")
    status(page, "One unit is held for you")
    press(page, "Let it go")
    status(page, "You let it go")
    counts(page, available=3, held=0, sold=0)
    press(page, "Buy one after all")
    status(page, "One unit is held for you")
    counts(page, available=2, held=1)


def test_sold_out_and_back(visitors: Visitors):
    lucky, late = visitors.page(), visitors.page(viewport=PHONE)
    sale = start_sale(lucky, Units=1)
    late.goto(sale)
    status(late, "On sale")
    press(lucky, "Buy one")
    status(lucky, "One unit is held for you")
    status(late, "Sold out right now")
    expect(late.locator("#detail")).to_contain_text("1 unit held and not paid yet")
    expect(late.get_by_role("button", name="Buy one")).to_be_disabled()
    assert findings(late) == []
    press(lucky, "Let it go")
    status(late, "On sale")
    press(late, "Buy one")
    status(late, "One unit is held for you")
    status(lucky, "You let it go")
    expect(lucky.get_by_role("button", name="Buy one after all")).to_be_disabled()


def test_somebody_is_faster(visitors: Visitors):
    """Both see a unit; the page of one is late to learn that it is gone."""
    visitors.expected = ("status of 409",)
    lucky, late = visitors.page(), visitors.page()
    sale = start_sale(lucky, Units=1)
    late.goto(sale)
    status(late, "On sale")
    late.route("**/state", lambda _: None)  # nothing is heard of the sale any more
    press(lucky, "Buy one")
    status(lucky, "One unit is held for you")
    press(late, "Buy one")
    status(late, "Sold out: somebody was faster")
    late.unroute("**/state")
    press(lucky, "Let it go")
    # The look that was never answered ends by itself; the page looks on after that.
    status(late, "Units are back")
    press(late, "Buy one")
    status(late, "One unit is held for you")


def test_a_limit_is_said_as_one(visitors: Visitors):
    visitors.expected = ("status of 409",)
    page = visitors.page()
    start_sale(page, Units_per_buyer=2)
    for _ in range(2):
        page.get_by_role("button", name=re.compile("Buy")).click()
        status(page, "One unit is held for you")
        press(page, "Pay")
        status(page, "Paid: it is yours")
    press(page, "Buy another")
    status(page, "You have as many as one buyer may have")
    expect(page.locator("#detail")).to_have_text("That is 2, held and bought together.")
    counts(page, available=1, sold=2)


def test_the_time_to_pay_runs_out(visitors: Visitors):
    visitors.expected = ("status of 409",)
    page, rival = visitors.page(), visitors.page()
    sale = start_sale(page, Units=1, Time_to_pay=3)
    press(page, "Buy one")
    status(page, "The time to pay is up")
    assert findings(page) == []
    rival.goto(sale)
    press(rival, "Buy one")
    press(rival, "Pay")
    status(rival, "Paid: it is yours")
    press(page, "Pay late")
    status(page, "Paid too late, and none is left")


def test_a_page_that_is_loaded_again_goes_on(page: Page):
    start_sale(page)
    press(page, "Buy one")
    status(page, "One unit is held for you")
    page.reload()
    status(page, "One unit is held for you")
    counts(page, available=2, held=1)
    press(page, "Pay")
    status(page, "Paid: it is yours")
    page.reload()
    status(page, "Paid: it is yours")


def test_another_buyer_begins_anew(page: Page):
    sale = start_sale(page)
    press(page, "Buy one")
    status(page, "One unit is held for you")
    press(page, "Be another buyer")
    page.wait_for_url("**/demo")
    page.goto(sale)
    status(page, "On sale")
    counts(page, available=2, held=1)


def test_a_busy_shop_is_asked_again_with_the_same_wish(visitors: Visitors):
    visitors.expected = ("status of 503",)
    page = visitors.page()
    start_sale(page)
    status(page, "On sale")
    wishes = sent_to(page, "buy")
    busy = 1

    def answer(route: Route) -> None:
        nonlocal busy
        if not busy:
            route.continue_()
            return
        busy -= 1
        problem = {"code": "overloaded", "title": "Too many", "detail": "Too many"}
        route.fulfill(status=503, headers={"Retry-After": "1"}, json=problem)

    page.route("**/buy", answer)
    press(page, "Buy one")
    status(page, "The shop is busy: trying again")
    expect(page.locator("#detail")).to_contain_text("It is the same request")
    assert findings(page) == []
    status(page, "One unit is held for you")
    assert len(wishes) == 2
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
        lost.append(route.fetch().status)  # the shop has done it
        route.abort()

    page.route("**/buy", lose_the_first)
    press(page, "Buy one")
    status(page, "One unit is held for you")
    assert lost == [201]
    counts(page, available=2, held=1)


def test_a_wrong_clock_of_the_visitors_changes_nothing(visitors: Visitors):
    page = visitors.page()
    page.add_init_script("const real = Date.now; Date.now = () => real() + 3_600_000;")
    start_sale(page, Opens_in=600)
    status(page, "Not open yet")
    expect(page.locator("#clock")).to_have_text(re.compile(r"(09:|10:00)"))
    expect(page.locator("#clock-note")).to_contain_text("ahead; the shop's counts")


def test_the_keyboard_is_enough(visitors: Visitors):
    page = visitors.page(viewport=PHONE)
    page.goto("/demo")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab_to(page, "Units")
    for number in ("2", "0", "600", "1"):
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


def test_buy_in_the_rush(visitors: Visitors, service: Service):
    """While others buy: the numbers move by themselves, and one gets and pays one's own."""
    pool = "rush"
    with BlockingClient(service.url) as operator:
        operator.open_pool(PoolOrder(pool, "SNK-42", 1_000_000, per_buyer_limit=5))
    page = visitors.page(viewport=PHONE)
    with RunningSale(service.url, pool):
        page.goto(f"/demo/sales/{pool}")
        for name in ("sold", "available", "held"):
            number = page.locator(f"#{name}")
            expect(number).to_have_text(re.compile(r"\d"))
            expect(number).not_to_have_text(number.inner_text())
        press(page, "Buy one")
        status(page, "One unit is held for you")
        press(page, "Pay")
        status(page, "Paid: it is yours")


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
        expect(left).not_to_have_text(left.inner_text())
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


def test_a_shop_that_is_away_is_said_so(visitors: Visitors):
    visitors.expected = ("net::ERR_FAILED",)
    page = visitors.page()
    start_sale(page)
    status(page, "On sale")
    page.route("**/state", lambda route: route.abort())
    expect(page.locator("#detail")).to_contain_text("can't be reached right now")
    page.unroute("**/state")
    expect(page.locator("#detail")).not_to_contain_text("can't be reached")


def test_nothing_of_the_page_comes_from_elsewhere(page: Page):
    hosts = set()
    page.on("request", lambda one: hosts.add(one.url.split("/")[2]))
    start_sale(page)
    status(page, "On sale")
    assert hosts == {page.url.split("/")[2]}
    assert json.loads(page.evaluate("JSON.stringify(Object.keys(sessionStorage))")) == []
