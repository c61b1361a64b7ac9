"""What all commands have in common: examples, JSON for programs, completion for people."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from flashstock.cli.commands import app
from flashstock.cli.stats import Grains
from flashstock.config import Settings
from flashstock.ledger.audit import AuditLog, RecordedChange
from flashstock.ledger.engine import create_engine
from flashstock.statistics.queries import Grain
from tests.acceptance.processes import environment, run_flashstock

pytestmark = pytest.mark.acceptance

SAYS_NOTHING = {"serve", "writer", "bench"}
"""These run until they are stopped, or hand all flags on."""


def commands(found: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that a person may call, by its words."""
    below = getattr(found, "commands", None)
    if below is None and not found.hidden:
        yield name, found
    for word, command in (below or {}).items():
        yield from commands(command, f"{name} {word}".strip())


COMMANDS = dict(commands(typer.main.get_command(app)))


def run(*words: str, data_dir: Path) -> Any:
    """What a command printed on standard output, which is one JSON document and nothing else."""
    done = CliRunner().invoke(app, [*words, "--json"], env={"FLASHSTOCK_DATA_DIR": str(data_dir)})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_text_has_an_example(name):
    assert f"flashstock {name}" in (COMMANDS[name].help or "")


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - SAYS_NOTHING))
def test_a_command_that_says_something_says_it_to_programs_too(name):
    flags = {flag for parameter in COMMANDS[name].params for flag in parameter.opts}
    assert "--json" in flags


def test_keys_campaigns_and_statistics_as_json(tmp_path):
    made = run("keys", "create", "shop", "--role", "ops", data_dir=tmp_path)
    assert (made["name"], made["role"]) == ("shop", "ops")
    assert made["key"].startswith("fsk_")
    assert run("keys", "revoke", "shop", data_dir=tmp_path) == {"name": "shop", "revoked": True}
    (listed,) = run("keys", "list", data_dir=tmp_path)
    assert listed["revoked_at"] is not None
    assert run("campaigns", "list", data_dir=tmp_path) == []
    assert run("stats", data_dir=tmp_path)["pools"] == []
    assert run("version", data_dir=tmp_path)["name"] == "flashstock"


def test_what_a_command_changes_is_in_the_audit_log(tmp_path):
    run("keys", "create", "shop", "--role", "ops", data_dir=tmp_path)
    run("keys", "list", data_dir=tmp_path)
    run("keys", "revoke", "shop", data_dir=tmp_path)
    for words in (["rebuild"], ["reconcile", "--repair"]):
        run(*words, data_dir=tmp_path)
        run(*words, "--apply", data_dir=tmp_path)

    async def recorded() -> list[RecordedChange]:
        engine = create_engine(Settings(data_dir=tmp_path).ledger_url)
        try:
            return await AuditLog(engine, lambda: 0).page(0, 100)
        finally:
            await engine.dispose()

    rows = asyncio.run(recorded())
    assert [(row.action, row.subject, row.detail) for row in reversed(rows)] == [
        ("flashstock keys create", "shop", "role ops"),
        ("flashstock keys revoke", "shop", ""),
        ("flashstock rebuild", "stores", ""),
        ("flashstock reconcile --repair", "stores", ""),
    ]
    assert {(row.via, row.role) for row in rows} == {("cli", "admin")}
    assert all(row.actor and row.address for row in rows)


def test_the_choices_are_those_of_the_statistics():
    assert set(get_args(Grains)) == set(Grain)


def test_a_terminal_is_told_nothing_that_a_pipe_would_have_to_skip(tmp_path):
    done = run_flashstock("stats", settings={"FLASHSTOCK_DATA_DIR": str(tmp_path)})
    assert done.stdout.strip() == "no pool has statistics yet"
    assert "folding" not in done.stderr


COMPLETING = """
eval "$(flashstock --show-completion bash)"
complete_words() {
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  _flashstock_completion flashstock; echo "${COMPREPLY[*]}"
}
complete_words flashstock re
complete_words flashstock keys create x --role ""
complete_words flashstock doctor --
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_choices_and_flags(tmp_path):
    variables = environment({"HOME": str(tmp_path)})
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETING],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    words, choices, flags = done.stdout.strip().splitlines()
    assert words.split() == ["reconcile", "rebuild", "replay"]
    assert choices.split() == ["storefront", "ops", "admin"]
    assert {"--strict", "--json", "--data-dir"} <= set(flags.split())
