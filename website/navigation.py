"""The configuration of the site: `mkdocs.yml`, with all pages of a folder in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from website.pages import ROOT

INDEX: Final = "README.md"


def configuration(pages: Path) -> str:
    """The text of the file, for a directory beside ``pages``.

    An entry that ends with ``/`` stands for the pages of that folder: its ``README.md`` first.

    Raises:
        ValueError: a page is not in the navigation, so nobody would find it.
    """
    settings: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    settings["nav"] = [_filled(entry, pages) for entry in settings["nav"]]
    lost = {page.relative_to(pages).as_posix() for page in pages.rglob("*.md")}
    lost -= set(_targets(settings["nav"]))
    if lost:
        raise ValueError(f"not in the navigation of mkdocs.yml: {', '.join(sorted(lost))}")
    return str(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False))


def _filled(entry: Any, pages: Path) -> Any:
    if isinstance(entry, dict):
        return {name: _filled(below, pages) for name, below in entry.items()}
    if isinstance(entry, list):
        found = [_filled(below, pages) for below in entry]
        return [page for one in found for page in (one if isinstance(one, list) else [one])]
    if not entry.endswith("/"):
        return entry
    names = sorted(page.name for page in (pages / entry).glob("*.md"))
    names.sort(key=lambda name: name != INDEX)
    return [entry + name for name in names]


def _targets(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    below = entry.values() if isinstance(entry, dict) else entry
    return [target for one in below for target in _targets(one)]
