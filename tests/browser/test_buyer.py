"""Journeys of buyers at ``/demo``, each from the door to its end."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from itertools import count
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Response, Route, expect

from flashstock.client import BlockingClient, PoolOrder
from flashstock.storefront.opening import delay_ms
from tests.acceptance.processes import Service
from tests.browser.accessibility import findings
from tests.browser.buying import (
    come_true,
    counts,
    press,
    seconds_left,
    start_sale,
    status,
    ticks_down,
)
from tests.browser.conftest import PHONE, Visitors
from tests.browser.running_sale import RunningSale

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

SPREAD_MS: Final = 2_000
"""What a shop spreads its opening over unless it is told otherwise."""


def test_before_the_opening(page: Page):
    start_sale(page, Opens_in=600)
    status(page, "Not open yet")
    expect(page.get_by_text("Opens in")).to_be_visible()
    assert findings(page) == []
    press(page, "Buy when it opens")
    status(page, "You are in line")
    assert findings(page) == []
    press(page, "In line: press to leave")
    status(page, "Not open yet")


def test_wait_for_ones_turn_buy_and_pay(visitors: Visitors):
    page = visitors.page()
    sale = start_sale(page, Opens_in=5)
    turn = become_one_of_the_last(page, sale)
    page.goto(sale)
    with page.expect_response("**/state") as looked:
        pass  # the page looks on by itself
    state = looked.value.json()
    assert state["opening"]["yours_ms"] / 1_000 == turn.total_seconds()
    opens_at = datetime.fromisoformat(state["starts_at"])
    with page.expect_response(is_granted) as bought:
        # On a slow machine it may have opened by now; then one waits for one's turn, too.
        page.get_by_role("button", name=re.compile("^Buy (one|when it opens)$")).click()
    asked_at = datetime.fromisoformat(bought.value.json()["now"])
    # A page knows the shop's clock as well as answers come and go; the margin is for that. It is
    # less than the turn: whoever doesn't wait for it asks too early.
    assert asked_at >= opens_at + turn - timedelta(seconds=1.25)
    status(page, "One unit is held for you")
    counts(page, available=2, held=1, sold=0)
    assert findings(page) == []
    left = page.get_by_role("timer", name="Time left to pay")
    expect(left).to_have_text(re.compile(r"^(0[5-9]:[0-5]\d|10:00)$"))
    ticks_down(left)
    expect(page.get_by_text("Paying is simulated")).to_be_visible()
    press(page, "Pay")
    status(page, "Paid: it is yours")
    expect(page.locator("#detail")).to_have_text(re.compile(r"Order number \d+\."))
    counts(page, available=2, held=0, sold=1)
    assert findings(page) == []


def is_granted(response: Response) -> bool:
    """Whether it is the answer to a wish that was not put off: a busy shop is asked again."""
    return response.url.endswith("/buy") and response.status == 201


def become_one_of_the_last(page: Page, sale: str) -> timedelta:
    """Somebody whose turn the shop draws late; when it is, after the opening."""
    pool = sale.rpartition("/")[2]
    names = (f"visitor-{number:020x}" for number in count())
    buyer = next(name for name in names if delay_ms(name, pool, SPREAD_MS) >= 0.8 * SPREAD_MS)
    host = urlsplit(sale).hostname or ""
    page.context.add_cookies(
        [{"name": "flashstock_buyer", "value": buyer, "domain": host, "path": "/demo"}]
    )
    return timedelta(milliseconds=delay_ms(buyer, pool, SPREAD_MS))


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
    late.get_by_role("button", name="Buy one").focus()
    press(lucky, "Buy one")
    status(lucky, "One unit is held for you")
    status(late, "Sold out right now")
    # What is disabled has no focus: it would be nowhere.
    expect(late.get_by_role("status")).to_be_focused()
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
    unanswered: list[Route] = []

    def hear_nothing(route: Route) -> None:
        unanswered.append(route)

    late.route("**/state", hear_nothing)
    come_true(late, lambda: unanswered, "the look before has been answered")
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
    # Late as well, so that it is one button at any speed; but the unit is there.
    status(rival, "The time to pay is up")
    press(rival, "Pay late")
    status(rival, "Paid: it is yours")
    press(page, "Pay late")
    status(page, "Paid too late, and none is left")


def test_a_hold_that_got_more_time_has_it(page: Page, service: Service):
    """The page hears of it when the time is up that it knows of."""
    start_sale(page, Units=1, Time_to_pay=20)
    press(page, "Buy one")
    expect(page.get_by_role("button", name="Pay", exact=True)).to_be_visible()
    (hold,) = page.evaluate("Object.values(localStorage).map(it => JSON.parse(it).hold.id)")
    with service.client() as client:
        longer = client.post(f"/v1/reservations/{hold}/extend", json={"seconds": 600})
    assert longer.status_code == 200, longer.text
    status(page, "One unit is held for you")
    assert seconds_left(page.get_by_role("timer", name="Time left to pay")) > 60
    press(page, "Pay")
    status(page, "Paid: it is yours")


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
