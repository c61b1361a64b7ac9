"""Journeys of operators at ``/console``, while a sale goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from flashstock.client import BlockingClient, GroupBuy, PoolOrder
from tests.acceptance.processes import Service, run_flashstock, serving
from tests.browser.accessibility import findings, too_wide
from tests.browser.conftest import DESKTOP, SMALL_PHONE, Visitors, picture
from tests.browser.running_sale import RunningSale

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

POOL = "sneaker"
UNITS = 1_000_000
TOGETHER = "tea-for-two"


@dataclass(frozen=True)
class Keys:
    desk: str
    shop: str


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Keys]]:
    """A service that takes keys: one of an operator, one of a shop."""
    directory = tmp_path_factory.mktemp("console") / "data"

    def key(name: str, role: str) -> str:
        made = run_flashstock("keys", "create", name, "--role", role, "--data-dir", str(directory))
        return made.stdout.split()[-1]

    keys = Keys(key("desk", "ops"), key("shop", "storefront"))
    # An admin key beside them: without one, a service may run open, and has a shop.
    with serving(directory, settings={"FLASHSTOCK_ADMIN_KEY": "correct-horse"}) as service:
        yield service, keys


@pytest.fixture(scope="module")
def service(keyed: tuple[Service, Keys]) -> Service:
    return keyed[0]


@pytest.fixture(scope="module")
def keys(keyed: tuple[Service, Keys]) -> Keys:
    return keyed[1]


@pytest.fixture(scope="module", autouse=True)
def sale(service: Service, keys: Keys) -> Iterator[RunningSale]:
    with BlockingClient(service.url, api_key=keys.desk) as operator:
        operator.open_pool(PoolOrder(POOL, "SNK-42", UNITS, per_buyer_limit=5))
        operator.open_pool(PoolOrder(TOGETHER, "TEA", 10, group_buy=GroupBuy(2)))
    with RunningSale(service.url, POOL, keys.shop) as running:
        yield running


def sign_in(page: Page, key: str) -> None:
    page.goto("/console")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def section(page: Page, title: str) -> None:
    """Go there, and be there: the overview has links of the same names as other pages."""
    page.get_by_role("navigation").get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def tile(page: Page, name: str) -> str:
    """The number on a tile, as it stands there now."""
    return page.get_by_test_id(name).locator("strong").inner_text()


def units(page: Page, name: str) -> int:
    return int(tile(page, name).replace(",", ""))


def moves(page: Page, name: str) -> None:
    """Wait until a number is another one, without the page being loaded again."""
    shown = tile(page, name)
    expect(page.get_by_test_id(name).locator("strong")).not_to_have_text(shown)


def test_sign_in_watch_and_sign_out(visitors: Visitors, keys: Keys):
    visitors.expected = ("status of 401", "status of 403")
    page = visitors.page()
    for wrong in ("not-a-key", keys.shop):
        sign_in(page, wrong)
        expect(page.get_by_role("alert")).to_be_visible()
    assert findings(page) == []
    sign_in(page, keys.desk)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_test_id("who")).to_contain_text("desk")
    page.evaluate("window.loadedOnce = true")
    for name in ("sold", "held", "available"):
        moves(page, name)
    expect(page.get_by_test_id("stream")).to_have_text("Live")
    assert page.evaluate("window.loadedOnce"), "the numbers moved by themselves"
    assert units(page, "sold") > 0
    page.screenshot(path=picture("console-overview"), full_page=True)
    assert page.request.get("/demo").status == 404, "nobody asked for a shop"
    press(page, "Sign out")
    # Another page that is asked for at once would cut the way out off.
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.goto("/console/pools")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_pause_add_stock_release_a_hold_and_find_it_on_record(
    visitors: Visitors, service: Service, keys: Keys
):
    page = visitors.page()
    page.on("dialog", lambda dialog: dialog.accept())
    sign_in(page, keys.desk)
    section(page, "Pools")
    page.get_by_role("link", name=POOL, exact=True).click()
    expect(page.get_by_role("heading", level=1, name=POOL)).to_be_visible()
    moves(page, "sold")

    press(page, "Pause")
    expect(page.get_by_test_id("note")).to_be_visible()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.get_by_test_id("available")).to_contain_text(f"of {UNITS:,} in all")
    page.get_by_label("Units", exact=True).fill("50")
    press(page, "Change")
    expect(page.get_by_test_id("available")).to_contain_text(f"of {UNITS + 50:,} in all")
    press(page, "Resume")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    moves(page, "sold")

    with BlockingClient(service.url, api_key=keys.shop) as shop:
        held = shop.reserve(POOL, "ada lovelace", 2, "ada-1").reservation
        section(page, "Reservations")
        page.get_by_label(re.compile("^Buyer")).fill("ada lovelace")
        press(page, "Search")
        page.get_by_role("link", name=held.id).click()
        press(page, "Release")
        expect(page.get_by_test_id("note")).to_be_visible()
        expect(page.get_by_role("button", name="Release")).to_have_count(0)
        assert shop.reservation(held.id).state in {"cancelled", "revoked"}

    section(page, "Audit log")
    changes = page.get_by_role("region", name="Changes")
    for deed in ("/pause", "/adjust", "/resume", "/release"):
        row = changes.get_by_role("row").filter(has_text=deed)
        expect(row.first).to_contain_text("desk")
        expect(row.first).to_contain_text("done")


def test_watch_a_group_until_it_forms(visitors: Visitors, service: Service, keys: Keys):
    page = visitors.page()
    sign_in(page, keys.desk)
    with BlockingClient(service.url, api_key=keys.shop) as shop:
        opener = shop.open_group(TOGETHER, "ada", "ada-2").reservation
        section(page, "Groups")
        page.get_by_role("link", name=TOGETHER, exact=True).click()
        page.get_by_role("link", name=opener.id).click()
        expect(page.get_by_test_id("time-left")).to_be_visible()
        shop.confirm(opener.id, "pay-ada")
        expect(page.get_by_test_id("missing").locator("strong")).to_have_text("1")
        joiner = shop.join_group(opener.id, "bob", "bob-1").reservation
        expect(page.get_by_role("region", name="Members")).to_contain_text("bob")
        shop.confirm(joiner.id, "pay-bob")
        expect(page.get_by_test_id("missing").locator("strong")).to_have_text("0")
    expect(page.get_by_test_id("group-state")).to_have_text("formed")
    page.get_by_role("link", name=TOGETHER, exact=True).click()
    expect(page.get_by_test_id("formed").locator("strong")).to_have_text("1")
    page.screenshot(path=picture("console-groups"), full_page=True)


def test_the_books_balance_and_a_repair_has_nothing_to_do(visitors: Visitors, keys: Keys):
    page = visitors.page()
    sign_in(page, keys.desk)
    section(page, "Reconciliation")
    page.get_by_role("link", name="Compare everything now").click()
    expect(page.get_by_test_id("reconciled")).to_have_text("the books balance")
    page.get_by_role("link", name="Preview a repair").click()
    expect(page.get_by_test_id("repair-nothing")).to_be_visible()


def test_every_section_is_in_order_and_fits_a_small_phone(
    visitors: Visitors, service: Service, keys: Keys
):
    page = visitors.page()
    with BlockingClient(service.url, api_key=keys.shop) as shop:
        group = shop.open_group(TOGETHER, "carl", "carl-1").reservation.id
    sign_in(page, keys.desk)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    links = page.get_by_role("navigation").get_by_role("link").all()
    paths = [link.get_attribute("href") or "" for link in links]
    assert len(paths) >= 10
    # What is shown of refusals comes a moment later than the rest.
    expect(page.get_by_role("rowheader", name="buyer limit").first).to_be_visible()
    grave, wide = [], []
    paths += [f"/console/pools/{POOL}", f"/console/pools/{TOGETHER}", "/console/new-pool"]
    paths += [f"/console/groups/of/{TOGETHER}", f"/console/groups/{group}"]
    for path in paths:
        page.set_viewport_size(DESKTOP)
        page.goto(path)
        grave += [f"{path}: {finding}" for finding in findings(page)]
        page.set_viewport_size(SMALL_PHONE)
        wide += [f"{path}: {element}" for element in too_wide(page)]
    assert not grave, "\n".join(grave)
    assert not wide, "\n".join(wide)


def test_the_keyboard_is_enough(visitors: Visitors, keys: Keys):
    page = visitors.page()
    page.goto("/console")
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type(keys.desk)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    pools = page.get_by_role("navigation").get_by_role("link", name="Pools")
    for _ in range(20):
        page.keyboard.press("Tab")
        if pools.evaluate("link => link === document.activeElement"):
            break
    expect(pools).to_be_focused()
    assert pools.evaluate("link => getComputedStyle(link).outlineStyle") != "none"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Pools")).to_be_visible()
