"""The page of metrics, the alerts and the dashboard speak of what a running service answers."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.observability.promql import GIVEN, SYNTHETIC, asked
from tests.observability.scraped import families, labels, series
from tests.tidy.sources import ROOT

pytestmark = pytest.mark.acceptance

_ROW = re.compile(r"^\| `(flashstock_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)
_NAMED = re.compile(r"\bflashstock_[a-z_]+\b")
DOCUMENTED = {
    name: (kind, set(re.findall(r"`(\w+)`", listed)))
    for name, kind, listed in _ROW.findall((ROOT / "docs/metrics.md").read_text("utf-8"))
}
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/flashstock.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
EXPRESSIONS = [
    *((rule["alert"], rule["expr"]) for rule in ALERTS),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
    *((a["name"], a["expr"]) for a in DASHBOARD["annotations"]["list"] if "expr" in a),
]


def test_the_page_lists_every_metric_and_no_other(metrics):
    served = {name: kind for name, kind in families(metrics).items() if "flashstock" in name}
    kinds = {name: kind.replace("info", "gauge") for name, (kind, _) in DOCUMENTED.items()}
    assert kinds == served


def test_the_page_names_the_labels_of_each(metrics):
    served = {name: held for name, held in labels(metrics).items() if name in DOCUMENTED}
    assert len(served) > 25, "most of them have a sample in a sale"
    assert {name: DOCUMENTED[name][1] for name in served} == served


@pytest.mark.parametrize(
    ("where", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS]
)
def test_an_expression_asks_for_what_is_served(metrics, where, expression):
    wanted = asked(expression)
    assert wanted.matched, "an expression looks at something"
    assert wanted.matched.keys() - SYNTHETIC <= series(metrics)
    known: set[str] = set(GIVEN)
    for name, matched in wanted.matched.items():
        of_it = GIVEN | DOCUMENTED.get(re.sub("_(bucket|sum|count)$", "", name), ("", set()))[1]
        assert matched <= of_it, name
        known |= of_it
    assert wanted.grouped <= known


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
)
def test_no_page_speaks_of_a_metric_that_is_not_there(metrics, page):
    named = set(_NAMED.findall((ROOT / page).read_text("utf-8")))
    assert named <= series(metrics) | families(metrics).keys()


def test_the_dashboard_can_be_drawn():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells), "panels lie on each other"
    assert max(x for x, _ in cells) < 24
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert {t["datasource"]["uid"] for t in panel["targets"]} == {"${datasource}"}
