"""Somebody with a browser at the console: keeps cookies, fills in the forms of real pages."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import httpx

from flashstock.console.pages import ROUTES
from flashstock.console.sessions import COOKIE

TOKEN = re.compile(r'name="form_token" value="([0-9a-f]+)"')
NOTE = re.compile(r'data-testid="note">([^<]*)<')
KEY = re.compile(r'name="idempotency_key" value="([0-9a-f]+)"')


def paths(method: str, **parts: str) -> list[str]:
    """Every path of the console that takes a method, its parts filled in."""
    found = []
    for route in ROUTES:
        if method in (route.methods or ()):
            path = re.sub(r":\w+}", "}", route.path)
            found.append(re.sub(r"{(\w+)}", lambda part: parts.get(part[1], "1"), path))
    return found


class Visitor:
    """One browser."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=60)
        self.origin = url

    def get(self, path: str, status: int = 200) -> str:
        """A page. What a browser would refuse to run must not be in it."""
        response = self.client.get(path)
        assert response.status_code == status, (path, response.status_code, response.text[:300])
        return response.text

    def token(self, page: str = "/console") -> str:
        """The form token of a page."""
        found = TOKEN.search(self.client.get(page, follow_redirects=True).text)
        assert found, f"{page} has no form"
        return found[1]

    def send(
        self, path: str, page: str = "/console", headers: Any = None, **fields: str
    ) -> httpx.Response:
        """Send a form of a page as a browser does, and what its fields are."""
        sent = {"origin": self.origin, "referer": f"{self.origin}{page}", **(headers or {})}
        form = {"form_token": self.token(page), **fields}
        sent = {name: value for name, value in sent.items() if value}
        return self.client.post(path, data=form, headers=sent)

    def do(self, path: str, page: str, **fields: str) -> str:
        """Send a form; what the next page says about it."""
        response = self.send(path, page, **fields)
        assert response.status_code == 303, (path, response.status_code, response.text[:500])
        shown = self.client.get(response.headers["location"])
        assert shown.status_code == 200, shown.text[:500]
        note = NOTE.search(shown.text)
        assert note, "nothing was said"
        assert NOTE.search(self.client.get("/console").text) is None, "it is said once"
        return unescape(note[1])

    def sign_in(self, key: str) -> httpx.Response:
        """With a key; the answer is a redirection where it is good."""
        return self.send("/console/sign-in", "/console/sign-in", key=key)

    @property
    def cookie(self) -> str:
        return self.client.cookies[COOKIE]


def events(response: httpx.Response, wanted: int) -> list[str]:
    """The first events of a stream; fewer where it ends before."""
    found, lines = [], []
    for line in response.iter_lines():
        if line:
            lines.append(line)
            continue
        event, lines = "\n".join(lines), []
        if event and not event.startswith("retry:"):
            found.append(event)
        if len(found) == wanted:
            break
    return found
