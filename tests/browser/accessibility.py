"""axe-core on a page, in light and in dark."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = {"serious", "critical"}

# One that is cut off, since what it is of changed once more, rejects: that one is over, too.
FADED = """() => Promise.allSettled(
  document.getAnimations().filter((a) => a instanceof CSSTransition).map((a) => a.finished)
)"""

TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  const all = document.scrollingElement.scrollWidth;
  if (all <= width) return [];
  const sticksOut = (e) => e.getBoundingClientRect().right > width + 0.5;
  const name = (e) => `${e.tagName} ${e.getAttribute("class")} ${e.textContent.slice(0, 40)}`;
  const wide = [...document.body.querySelectorAll("*")].filter(sticksOut);
  return [`${all} of ${width}`, ...wide.map(name)];
}"""

_axe = Axe()


def findings(page: Page) -> list[str]:
    """What axe-core finds grave, one line for each element; empty is good."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        # Colours that fade from one scheme to the other are of neither.
        page.evaluate(FADED)
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


def too_wide(page: Page) -> list[str]:
    """What of the page is wider than the screen, so that one must scroll sideways."""
    found: list[str] = page.evaluate(TOO_WIDE)
    return found
