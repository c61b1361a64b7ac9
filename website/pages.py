"""The pages of the site: what stands in `docs/`, some pages of the checkout, and the reference.

A page of the checkout that is no page of the site can't be linked to from there, so such a link
becomes its text. Everything else must lead somewhere, or the build fails.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path
from typing import Final

from website.command_reference import command_reference
from website.http_reference import http_reference
from website.interface import openapi_document
from website.settings_reference import settings_reference

ROOT: Final = Path(__file__).resolve().parent.parent
MOVED: Final = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "bench/README.md": "benchmarks.md",
    "lua/README.md": "scripts.md",
    "README.md": "index.md",
}
"""Pages of the checkout, and where they are on the site. The site has a first page of its own."""
COPIED: Final = tuple(source for source in MOVED if source != "README.md")
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def write_pages(directory: Path) -> None:
    """Write all of them into an empty directory, which is made."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(ROOT / "docs", directory)
    for page in directory.rglob("*.md"):
        source = (ROOT / "docs" / page.relative_to(directory)).relative_to(ROOT).as_posix()
        page.write_text(on_the_site(page.read_text("utf-8"), source), encoding="utf-8")
    for source in COPIED:
        text = (ROOT / source).read_text("utf-8")
        (directory / MOVED[source]).write_text(on_the_site(text, source), encoding="utf-8")
    (directory / "decisions" / "README.md").write_text(_decisions(), encoding="utf-8")
    for name, text in reference().items():
        path = directory / "reference" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def reference() -> dict[str, str]:
    """Name → text of the pages that are made from the code."""
    return {
        **http_reference(openapi_document()),
        "commands.md": command_reference(),
        "settings.md": settings_reference(),
    }


def _decisions() -> str:
    """A list of all of them, each with its title."""
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    titles = [(page.name, page.read_text("utf-8").splitlines()[0]) for page in pages]
    lines = [f"* [{title.removeprefix('# ')}]({name})" for name, title in titles]
    introduction = "What was weighed, what was chosen, and what follows from it."
    return "\n".join(["# Decisions", "", introduction, "", *lines, ""])


def place_of(source: str) -> str | None:
    """Where a file of the checkout is on the site; ``None`` where it is not."""
    if source in MOVED:
        return MOVED[source]
    return source.removeprefix("docs/") if source.startswith("docs/") else None


def on_the_site(text: str, source: str) -> str:
    """A page's text with its relative links as they lead on the site."""
    here = place_of(source)
    assert here is not None

    def led(link: re.Match[str]) -> str:
        image, shown, target = link.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return link[0]
        path, mark, anchor = target.partition("#")
        aimed_at = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if (ROOT / aimed_at).is_dir():
            aimed_at = f"{aimed_at}/README.md"
        place = place_of(aimed_at)
        if place is None:
            return str(shown) if (ROOT / aimed_at).exists() else link[0]
        relative = posixpath.relpath(place, posixpath.dirname(here) or ".")
        return f"{image}[{shown}]({relative}{mark}{anchor})"

    return _LINK.sub(led, text)
