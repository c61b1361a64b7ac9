"""What buyers do on the pages of the shop."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS

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
