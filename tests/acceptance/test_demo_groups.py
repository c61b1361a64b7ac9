"""`flashstock demo --scenario group-buy`: groups form and fail, and every unit is accounted for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SMALL = ["--units", "40", "--buyers", "300", "--requests", "600", "--hold-seconds", "1"]
SECONDS_MAX = 200

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3 * SECONDS_MAX)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flashstock", "demo", "--scenario", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def test_groups_form_and_fail_and_it_all_adds_up():
    ended = run("group-buy", "--json", *SMALL)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    document = json.loads(ended.stdout)
    assert (document["oversold"], document["lost"], document["differences"]) == (0, 0, 0)
    groups = document["groups"]
    assert groups["formed"] > 0
    assert groups["failed"] > 0
    assert groups["formed"] + groups["failed"] == groups["opened"]
    assert document["confirmed"] > 0
    assert document["refunded"] > 0
    assert document["repeats_checked"] > 0
    assert document["audit"]["reservations_checked"] == document["held"]
    assert "groups_formed" in ended.stderr, "it is shown live"


def test_a_scenario_that_is_none_is_refused():
    ended = run("auction")
    assert ended.returncode == 2
    assert "scenario must be one of flash-sale, group-buy" in ended.stderr
