"""A real browser on a real service.

A browser lives as long as a file's tests: while Playwright runs, its thread has a running event
loop, in which no asynchronous test of another file could start.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.acceptance.processes import Service, serving
from tests.browser import chromium
from tests.tidy.sources import ROOT

ARTEFACTS = ROOT / "build" / "browser"
PATIENCE_MS = 180_000
"""Longer than anything that a journey waits out: a group that gathers for two minutes."""
DESKTOP = ViewportSize(width=1_200, height=900)
PHONE = ViewportSize(width=390, height=844)
SMALL_PHONE = ViewportSize(width=320, height=568)

expect.set_options(timeout=PATIENCE_MS)

BUSY = "status of 503"
"""On a machine that does much else, a service may say so; pages have to cope."""


@pytest.fixture(scope="session")
def browser_path() -> str:
    try:
        return chromium.executable()
    except chromium.NoBrowser as problem:
        if chromium.REQUIRED:
            pytest.fail(str(problem))
        pytest.skip(str(problem))


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path,
            args=chromium.ARGUMENTS,
            headless=True,
            timeout=PATIENCE_MS,
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Open to everyone on this machine, as ``make serve`` runs it."""
    with serving(tmp_path_factory.mktemp("browser") / "data") as service:
        yield service


class Visitors:
    """Browsers of different people. What goes wrong in a page is a failure of the test."""

    def __init__(self, browser: Browser, base_url: str, name: str) -> None:
        self._browser = browser
        self._base_url = base_url
        self._name = name
        self._contexts: list[BrowserContext] = []
        self.pages: list[Page] = []
        self.expected: tuple[str, ...] = ()
        """What browsers complain of that is part of the journey."""
        self._complaints: list[str] = []

    def page(self, **options: Any) -> Page:
        """A page of somebody new."""
        context = self._browser.new_context(
            base_url=self._base_url, locale="en-GB", **({"viewport": DESKTOP} | options)
        )
        context.set_default_timeout(PATIENCE_MS)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self._complaints.append(f"script: {error}"))
        self.pages.append(page)
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def complaints(self) -> list[str]:
        """Errors of scripts, refusals of the content policy, requests that failed."""
        known = (*self.expected, BUSY)
        return [c for c in self._complaints if not any(part in c for part in known)]

    def leave(self) -> None:
        """Keep what each of them saw last."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        for number, page in enumerate(self.pages, start=1):
            if not page.is_closed():
                page.screenshot(path=picture(f"{self._name}-{number}"), full_page=True)
        for context in self._contexts:
            context.close()


@pytest.fixture
def visitors(
    browser: Browser, service: Service, request: pytest.FixtureRequest
) -> Iterator[Visitors]:
    name = request.node.name.removeprefix("test_").replace("[", "-").replace("]", "")
    visitors = Visitors(browser, service.url, name)
    try:
        yield visitors
    finally:
        visitors.leave()
    assert visitors.complaints() == []


@pytest.fixture
def page(visitors: Visitors) -> Page:
    return visitors.page()


def picture(name: str) -> Path:
    return ARTEFACTS / f"{name}.png"
