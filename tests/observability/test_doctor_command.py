"""`flashstock doctor` beside a service that runs."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from flashstock.cli.commands import app
from tests.acceptance.processes import run_flashstock

pytestmark = pytest.mark.acceptance


def test_a_service_that_is_well(sale):
    done = run_flashstock("doctor", "--json", "--data-dir", str(sale.data_dir))
    assert done.returncode == 0, done.stdout
    document = json.loads(done.stdout)
    levels = {one["check"]: one["level"] for one in document["findings"]}
    assert levels["shard 0"] == levels["SQL: durability"] == levels["Redis: eviction"] == "ok"
    assert document["level"] != "problem"


def test_what_is_wrong_is_said_with_what_it_means(sale):
    done = run_flashstock(
        "doctor",
        "--data-dir",
        str(sale.data_dir),
        settings={"FLASHSTOCK_HOST": "0.0.0.0", "FLASHSTOCK_WORKER": "2"},
    )
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "FLASHSTOCK_WORKER is not a setting; did you mean FLASHSTOCK_WORKERS?" in said
    assert "refuses to start: everybody could take and give stock" in said
    assert "1 problem" in said


def test_a_warning_counts_where_it_is_asked_for(sale):
    command = ["doctor", "--data-dir", str(sale.data_dir)]
    variables = {"FLASHSTOCK_WORKERS": "64"}
    assert CliRunner().invoke(app, command, env=variables).exit_code == 0
    assert CliRunner().invoke(app, [*command, "--strict"], env=variables).exit_code == 1
