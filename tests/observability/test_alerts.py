"""Every alert is tried, explained, and says how bad it is."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.tidy.sources import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
TRIALS = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
PROMTOOL = shutil.which("promtool")


def _sections() -> dict[str, str]:
    """Heading → text, of the runbook."""
    text = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_runbook_has_a_section_for_each_alert_and_no_other():
    assert list(_sections()) == list(RULES), "in the order of the alerts"


@pytest.mark.parametrize("alert", RULES)
def test_a_section_says_what_it_means_and_what_to_do(alert):
    section = _sections()[alert]
    assert "**Means.**" in section
    assert "**Do.**" in section
    assert f"({RULES[alert]['labels']['severity']})" in section


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_leads_to_its_section(alert):
    rule = RULES[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{alert.lower()}"


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_is_tried_both_ways(alert):
    outcomes = [
        bool(trial["exp_alerts"])
        for test in TRIALS
        for trial in test["alert_rule_test"]
        if trial["alertname"] == alert
    ]
    assert sorted(outcomes) == [False, True]


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool (Debian: prometheus)")
@pytest.mark.parametrize(
    "command",
    [("check", "config", "prometheus.yml"), ("test", "rules", "alerts.test.yml")],
    ids=["config", "rules"],
)
def test_prometheus_itself_agrees(command):
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
