"""axe-core on a page, in light and in dark."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = {"serious", "critical"}

_axe = Axe()


def findings(page: Page) -> list[str]:
    """What axe-core finds grave, one line for each element; empty is good."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        response = _axe.run(page).response
        assert response["passes"], "axe has looked at nothing"
        found += [
            f"{scheme}: {rule['id']} ({rule['impact']}) {' '.join(map(str, node['target']))}:"
            f" {node['failureSummary']}"
            for rule in response["violations"]
            if rule["impact"] in GRAVE
            for node in rule["nodes"]
        ]
    page.emulate_media(color_scheme="light")
    return found


def fits(page: Page) -> bool:
    """Whether nothing of the page is wider than the screen."""
    return bool(
        page.evaluate(
            "document.scrollingElement.scrollWidth <= document.documentElement.clientWidth"
        )
    )
