"""What buyers do on the pages of the shop."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PATIENCE_MS


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


def come_true(page: Page, look: Callable[[], object], what: str) -> None:
    """Wait until ``look`` finds something; the page goes on meanwhile."""
    give_up_at = time.monotonic() + PATIENCE_MS / 1_000
    while not look():
        assert time.monotonic() < give_up_at, f"it never came to this: {what}"
        page.wait_for_timeout(20)


def ticks_down(timer: Locator) -> None:
    """Wait until less time is left. It may be more at first: a page gets to know the shop's
    clock better with every answer.
    """
    first = seconds_left(timer)
    come_true(timer.page, lambda: seconds_left(timer) < first, f"it ticks down from {first} s")


def seconds_left(timer: Locator) -> int:
    """Of a clock that shows 59:58 or 1:00:00."""
    seconds = 0
    for part in timer.inner_text().split(":"):
        seconds = 60 * seconds + int(part)
    return seconds
