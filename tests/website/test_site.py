"""The documentation site: every page is found, every link leads somewhere, nothing is fetched."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flashstock.config import Settings, key_of
from tests.tidy.sources import ROOT
from website import __main__ as build
from website.checking import problems
from website.command_reference import command_reference
from website.http_reference import http_reference
from website.interface import openapi_document
from website.navigation import configuration
from website.pages import on_the_site
from website.settings_reference import INTERNAL, explanations, settings_reference


def offline() -> list[str]:
    """What keeps a command from the network, where this machine lets us."""
    command = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None:
        return []
    allowed = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if allowed.returncode == 0 else []


@pytest.fixture(scope="module")
def site() -> Path:
    """Built as ``make docs`` does, without a network."""
    done = subprocess.run(
        [*offline(), sys.executable, "-m", "website"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return build.SITE


@pytest.mark.slow
def test_it_is_built_strictly_and_loads_nothing_from_elsewhere(site):
    pages = {page.relative_to(site).as_posix() for page in site.rglob("*.html")}
    assert {"index.html", "runbook.html", "reference/http/pools.html", "changelog.html"} <= pages
    assert "decisions/0001-log-cursor-generation.html" in pages
    assert list(problems(site)) == []
    runbook = (site / "runbook.html").read_text("utf-8")
    assert 'id="flashstockoversold"' in runbook, "where the alerts lead"
    assert (site / "search.json").stat().st_size > 10_000


@pytest.mark.slow
def test_a_page_that_nobody_would_find_is_refused(site, tmp_path):
    shutil.copytree(build.PAGES, tmp_path / "pages")
    assert configuration(tmp_path / "pages")
    (tmp_path / "pages" / "lost.md").write_text("# Lost")
    with pytest.raises(ValueError, match=r"lost\.md"):
        configuration(tmp_path / "pages")


def test_what_a_page_loads_is_looked_at(tmp_path):
    (tmp_path / "there.svg").touch()
    (tmp_path / "page.html").write_text(
        '<link rel="stylesheet" href="https://fonts.example/a.css"><link rel="canonical" href="/x">'
        '<script src="//cdn.example/a.js"></script><img src="there.svg"><img src="gone.svg">'
        '<a href="https://elsewhere.example">a link is no load</a>'
    )
    assert list(problems(tmp_path)) == [
        "page.html: comes from elsewhere: https://fonts.example/a.css",
        "page.html: comes from elsewhere: //cdn.example/a.js",
        "page.html: is not there: gone.svg",
    ]


@pytest.mark.parametrize(
    ("source", "text", "shown"),
    [
        ("docs/concepts.md", "[a](../ARCHITECTURE.md)", "[a](architecture.md)"),
        ("ARCHITECTURE.md", "[d](docs/decisions/)", "[d](decisions/README.md)"),
        ("docs/guide/README.md", "[e](../errors.md#codes)", "[e](../errors.md#codes)"),
        ("CONTRIBUTING.md", "[r](README.md) [l](LICENSE)", "[r](index.md) l"),
        ("docs/performance.md", "![c](images/c.svg)", "![c](images/c.svg)"),
        ("docs/notices.md", "[s](https://x.example)", "[s](https://x.example)"),
        ("docs/errors.md", "[gone](nowhere.md)", "[gone](nowhere.md)"),
    ],
)
def test_links_lead_on_the_site_where_they_led_in_the_checkout(source, text, shown):
    assert on_the_site(text, source) == shown


def test_the_http_reference_has_every_operation():
    document = openapi_document()
    pages = "".join(http_reference(document).values())
    described = set(re.findall(r"^`([A-Z]+ /\S*)`$", pages, re.MULTILINE))
    served = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item
        if method not in {"summary", "description", "servers", "parameters"}
    }
    assert described == served
    assert len(served) > 100


def test_the_http_reference_goes_into_what_is_in_a_body():
    pages = http_reference(openapi_document())
    assert "| `waves[].at` | time | **required**" in pages["http/pools.md"]
    assert "| `quantity` | integer | **required** 1 to" in pages["http/reservations.md"]
    assert "`ledger` `fast`" in pages["http/pools.md"]


def test_every_setting_is_explained():
    assert {name for name, _ in explanations()} == Settings.model_fields.keys()
    page = settings_reference()
    for name in Settings.model_fields.keys() - INTERNAL:
        assert f"| `{key_of(name)}` |" in page


def test_the_commands_are_there_with_their_examples():
    page = command_reference()
    assert "## flashstock keys create" in page
    assert "    flashstock keys create backoffice --role ops" in page
    assert "One of `storefront`, `ops`, `admin`. [default: storefront]" in page
    assert "api-worker" not in page
