"""Journeys of buyers who buy together at ``/demo``: a group that forms, and one that fails."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from flashstock.client import BlockingClient, GroupBuy, PoolOrder, Tier
from flashstock.errors import RefundDue
from tests.acceptance.processes import Service
from tests.browser.accessibility import findings, too_wide
from tests.browser.buying import come_true, press, ticks_down
from tests.browser.conftest import PATIENCE_MS, PHONE, SMALL_PHONE, Visitors

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

LIVES_SECONDS = (4, 30, 120)
"""How long a group that is to fail gathers: the next one where the machine was too slow to pay."""

HOLDS_SECONDS = (1, 10, 60)
"""How long a seat that is to expire is kept; as above."""


def told(page: Page, text: str) -> None:
    expect(page.locator("#status")).to_have_text(text)


def test_two_buyers_fill_a_group_by_its_link(visitors: Visitors):
    opener = visitors.page()
    opener.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opener.goto("/demo")
    opener.get_by_label("Opens in (seconds)").fill("0")
    opener.get_by_label("Time to pay (seconds)").fill("600")
    opener.get_by_label("Seats in a group (0: sells to anyone)").fill("2")
    press(opener, "Start it")
    told(opener, "On sale to groups")
    assert findings(opener) == []
    sale = opener.url
    press(opener, "Open a group")
    opener.wait_for_url("**/demo/groups/*")
    told(opener, "A seat is yours: pay it")
    assert findings(opener) == []
    left = opener.get_by_role("timer", name="Time left", exact=True)
    expect(left).to_have_text(re.compile(r"^(5[5-9]:\d\d|1:00:00)$"))
    ticks_down(left)
    press(opener, "Copy the link")
    expect(opener.locator("#copied")).to_have_text("Copied.")
    link = opener.evaluate("navigator.clipboard.readText()")
    assert link == opener.url

    friend = visitors.page(viewport=PHONE)
    friend.goto(sale)
    friend.get_by_role("link", name=re.compile("^2 members missing")).click()
    friend.wait_for_url(link)
    told(friend, "2 members are missing")
    press(friend, "Join")
    told(friend, "A seat is yours: pay it")
    press(friend, "Pay")
    told(friend, "You are in: 1 member is missing")
    assert findings(friend) == []
    friend.set_viewport_size(SMALL_PHONE)
    assert too_wide(friend) == []
    friend.reload()
    told(friend, "You are in: 1 member is missing")

    third = visitors.page()
    third.goto(link)
    told(third, "Every seat is taken right now")
    expect(third.get_by_role("button", name="Join")).to_be_disabled()

    press(opener, "Pay")
    for member in (opener, friend):
        told(member, "The group has formed: it is yours")
        expect(member.locator("#detail")).to_have_text(re.compile(r"Order number \d+\."))
    told(third, "The group has formed")
    assert findings(third) == []
    expect(opener.locator("#members")).to_contain_text("paid, leads the group, you")
    opener.goto(sale)
    expect(opener.get_by_text("There is none right now.")).to_be_visible()


def test_a_group_that_is_not_full_in_time_pays_back(visitors: Visitors, service: Service):
    page = visitors.page(viewport=PHONE)
    page.goto("/demo")
    group = paid_alone(page, service)
    told(page, "The group has failed: your payment is due back")
    expect(page.locator("#detail")).to_have_text(
        "It was not full in time. The refund is on record."
    )
    assert findings(page) == []
    with BlockingClient(service.url) as client:
        assert group in [refund.reservation for refund in client.refunds()]
    stranger = visitors.page()
    stranger.goto(f"/demo/groups/{group}")
    told(stranger, "The group has failed")
    expect(stranger.get_by_role("link", name="Open a group, or find another")).to_be_visible()


def paid_alone(page: Page, service: Service) -> str:
    """A group whose only member has paid before its end, and sees the price on its page."""
    for life_seconds in LIVES_SECONDS:
        pool = f"brief-{life_seconds}"
        rules = GroupBuy(
            3, life_seconds=life_seconds, type="super", tiers=(Tier(1, 1_990), Tier(3, 1_490))
        )
        with BlockingClient(service.url) as client:
            client.open_pool(PoolOrder(pool, "TEA", 9, group_buy=rules))
        seat = asked(page, f"/demo/sales/{pool}/open-group", {"key": f"alone-{pool}"})
        paid = asked(page, f"/demo/reservations/{seat['id']}/pay", {"receipt": seat["receipt"]})
        if paid.get("state") != "confirmed":
            continue
        page.goto(f"/demo/groups/{seat['group']}")
        # A page that came after the end knows nothing of the seat, nor of a price.
        expect(page.locator("#status")).to_have_text(re.compile("^(You are in|The group has)"))
        if page.locator("#price-label").is_visible():
            return str(seat["group"])
    raise AssertionError("no payment was in time")


def asked(page: Page, path: str, body: dict[str, Any]) -> Any:
    """As the page's own script asks, with the visitor's cookie; again while the shop is busy."""
    while (answer := page.request.post(path, data=body)).status == 503:
        page.wait_for_timeout(100)
    return answer.json()


def test_a_seat_is_left_and_taken_again_with_the_keyboard_alone(
    visitors: Visitors, service: Service
):
    with BlockingClient(service.url) as client:
        client.open_pool(PoolOrder("keyboard", "TEA", 9, group_buy=GroupBuy(2)))
        group = client.open_group("keyboard", "somebody", "somebody-1").reservation.group
    page = visitors.page()
    page.goto(f"/demo/groups/{group}")
    told(page, "2 members are missing")
    for status, button in (
        ("A seat is yours: pay it", "Join"),
        ("You left the group", "Leave"),
        ("A seat is yours: pay it", "Join again"),
        ("You are in: 1 member is missing", "Pay"),
        ("You are out: your payment is due back", "Leave, and be paid back"),
    ):
        wanted = page.get_by_role("button", name=button, exact=True)
        # The seat that was left is free as soon as the page has looked again; nothing that is
        # disabled takes the focus.
        expect(wanted).to_be_enabled()
        wanted.focus()
        page.keyboard.press("Enter")
        told(page, status)
        assert page.evaluate("document.activeElement !== document.body"), "nobody falls off"


def test_an_answer_that_a_payment_overtakes_does_not_undo_it(visitors: Visitors, service: Service):
    with BlockingClient(service.url) as client:
        client.open_pool(PoolOrder("overtaken", "TEA", 9, group_buy=GroupBuy(2)))
        group = client.open_group("overtaken", "somebody", "somebody-2").reservation.group
    page = visitors.page()
    page.goto(f"/demo/groups/{group}")
    told(page, "2 members are missing")
    without_the_seat = page.request.get(f"/demo/groups/{group}/state").json()
    press(page, "Join")
    told(page, "A seat is yours: pay it")
    overtaken: list[tuple[Route, APIResponse]] = []

    def hold_back_the_first(route: Route) -> None:
        if overtaken:
            route.continue_()
        else:
            overtaken.append((route, route.fetch(timeout=PATIENCE_MS)))

    page.route("**/demo/reservations/*", hold_back_the_first)
    page.route("**/state", lambda route: route.fulfill(json=without_the_seat))
    come_true(page, lambda: overtaken, "the page asks what became of a seat that it doesn't see")
    page.unroute("**/state")
    press(page, "Pay")
    told(page, "You are in: 1 member is missing")
    route, answer = overtaken[0]
    route.fulfill(response=answer)
    for _ in range(2):
        with page.expect_response("**/state"):
            pass  # it has come by now, and the page looks on
    told(page, "You are in: 1 member is missing")


def test_what_can_not_be_is_said_and_can_not_be_pressed(visitors: Visitors, service: Service):
    later = datetime.now(UTC) + timedelta(hours=1)
    with BlockingClient(service.url) as client:
        client.open_pool(PoolOrder("early", "TEA", 9, group_buy=GroupBuy(2), starts_at=later))
        client.open_pool(PoolOrder("scarce", "TEA", 1, group_buy=GroupBuy(2)))
        client.open_pool(PoolOrder("paused", "TEA", 9, group_buy=GroupBuy(2)))
        groups = {
            pool: client.open_group(pool, "somebody", f"first-{pool}").reservation.group
            for pool in ("scarce", "paused")
        }
        client.pause_pool("paused")
    page = visitors.page()
    for path, status, button in (
        ("sales/early", "The sale is not open yet.", "Open a group"),
        ("sales/scarce", "Sold out right now", "Join any"),
        (f"groups/{groups['scarce']}", "Sold out right now", "Join"),
        ("sales/paused", "The sale is paused; it may go on.", "Open a group"),
        (f"groups/{groups['paused']}", "The sale is paused; it may go on.", "Join"),
    ):
        page.goto(f"/demo/{path}")
        told(page, status)
        expect(page.get_by_role("button", name=button, exact=True)).to_be_disabled()


def test_a_seat_that_is_paid_late_is_taken_back_while_there_is_a_place(
    visitors: Visitors, service: Service
):
    page = visitors.page()
    page.goto(f"/demo/groups/{paid_by_another(service)}")
    press(page, "Join")
    told(page, "The time to pay is up")
    press(page, "Pay late")
    told(page, "You are in: 1 member is missing")


def paid_by_another(service: Service) -> str:
    """A group of three with one paid seat, whose others have little time to pay."""
    with BlockingClient(service.url) as client:
        for seconds in HOLDS_SECONDS:
            pool = f"late-{seconds}"
            rules = GroupBuy(3)
            client.open_pool(PoolOrder(pool, "TEA", 9, hold_seconds=seconds, group_buy=rules))
            seat = client.open_group(pool, "somebody", f"first-{pool}").reservation
            try:
                client.confirm(seat.id, f"pay-{pool}")
            except RefundDue:
                continue
            return seat.id
    raise AssertionError("no payment was in time")
