"""What a built page loads: it must be there, and nothing may come from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Loaded(HTMLParser):
    """Collects what a browser fetches by itself when it shows the page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if source := values.get("src"):
            self.addresses.append(source)
        relations = (values.get("rel") or "").split()
        if tag == "link" and not {"canonical", "next", "prev", "alternate"} & set(relations):
            self.addresses.append(values.get("href") or "")


def problems(site: Path) -> Iterator[str]:
    """One line for each thing that a page loads from elsewhere, or that is not there."""
    for page in sorted(site.rglob("*.html")):
        loaded = _Loaded()
        loaded.feed(page.read_text("utf-8"))
        for address in loaded.addresses:
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                yield f"{page.relative_to(site)}: comes from elsewhere: {address}"
            elif not _file_of(site, page, unquote(parts.path)).is_file():
                yield f"{page.relative_to(site)}: is not there: {address}"


def _file_of(site: Path, page: Path, path: str) -> Path:
    return site / path.lstrip("/") if path.startswith("/") else page.parent / path
