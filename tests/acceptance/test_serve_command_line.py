"""What the command line says when it is asked for help, and when it can't do as asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flashstock import __version__
from tests.acceptance.processes import environment, run_flashstock

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize("flags", [("version",), ("--version",)])
def test_version(flags):
    result = run_flashstock(*flags)
    assert result.returncode == 0
    assert __version__ in result.stdout


@pytest.mark.parametrize(
    "command",
    ["serve", "writer", "reconcile", "rebuild", "keys", "demo", "replay", "bench", "version"],
)
def test_every_command_is_listed_and_has_help(command):
    assert command in run_flashstock("--help").stdout
    result = run_flashstock(command, "--help")
    assert result.returncode == 0, result.stderr


def test_the_worker_command_is_for_serve_alone():
    assert "api-worker" not in run_flashstock("--help").stdout


def test_help_loads_no_store_and_no_server():
    heavy = {"sqlalchemy", "alembic", "redis", "fastapi", "uvicorn", "granian", "pydantic", "httpx"}
    program = (
        "import sys, flashstock.cli\n"
        f"print(sorted({heavy!r} & {{name.partition('.')[0] for name in sys.modules}}))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("flags", "settings", "said"),
    [
        (("serve", "--port", "70000"), {}, "FLASHSTOCK_PORT"),
        (("serve", "--workers", "0"), {}, "FLASHSTOCK_WORKERS"),
        (("serve",), {"FLASHSTOCK_REDIS_URL": "redis://h"}, "FLASHSTOCK_DATABASE_URL"),
        (("serve", "--host", "no.such.host.invalid"), {}, "FLASHSTOCK_HOST"),
        (("serve", "--data-dir", "/proc/none"), {}, "FLASHSTOCK_DATA_DIR"),
        (("keys", "create", "local"), {}, "built-in"),
        (("keys", "create", "a b"), {}, "'a b'"),
        (("keys", "revoke", "nobody"), {}, "nobody"),
        (("reconcile",), {"FLASHSTOCK_DATABASE_URL": "mysql://h/d"}, "postgresql://"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_status_2(tmp_path, flags, settings, said):
    settings = {"FLASHSTOCK_DATA_DIR": str(tmp_path / "data"), **settings}
    result = run_flashstock(*flags, settings=settings)
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert said in line
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_debug_shows_where():
    result = run_flashstock("--debug", "serve", "--port", "70000")
    assert result.returncode != 0
    assert "Traceback" in result.stderr
    assert "ConfigurationError" in result.stderr


def test_a_slip_in_a_setting_is_pointed_out(tmp_path):
    result = run_flashstock(
        "serve",
        "--host",
        "0.0.0.0",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path / "data"),
        settings={"FLASHSTOCK_ADMINKEY": "correct-horse"},
    )
    assert result.returncode == 2
    assert "did you mean FLASHSTOCK_ADMIN_KEY?" in result.stderr
