"""`flashstock demo` as a user starts it: real processes, real HTTP, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

SMALL = ["--units", "40", "--buyers", "300", "--requests", "1500", "--hold-seconds", "1"]
SECONDS_MAX = 200

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3 * SECONDS_MAX)]


def demo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flashstock", "demo", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        demo(*arguments), capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def wait_until_gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=SECONDS_MAX)
    return alive


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    ended = run("--json", *SMALL)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("\n") == 1, "stdout holds one object and nothing else"
    assert "1500 requests" in ended.stderr, "progress goes to stderr"
    decoded: dict[str, Any] = json.loads(ended.stdout)
    return decoded


def test_the_invariants_held(document):
    assert document["ok"] is True
    assert (document["oversold"], document["lost"], document["differences"]) == (0, 0, 0)
    assert document["reconciliation"]["ok"] is True


def test_the_funnel_adds_up(document):
    ends = document["confirmed"] + document["expired"] + document["cancelled"]
    assert document["held"] == ends + document["untold"]
    assert document["untold"] == 0
    assert document["requests"] >= 1_500
    assert sum(document["sent"].values()) == document["requests"]
    assert document["audit"]["reservations_checked"] == document["held"]


def test_every_story_was_played(document):
    assert document["refused"]["sold_out"] > 500, "most lose"
    assert document["refused"]["not_started"] > 0
    assert document["repeats_checked"] > 0
    for ending in ("confirmed", "expired", "cancelled"):
        assert document[ending] > 0, ending
    assert document["units"]["resold"] > 0, "released units are sold again"
    assert document["units"]["promised_at_once_max"] <= 40
    assert document["confirmed_late"] + document["refund_due"] > 0, "some pay late"


def test_words_end_with_the_reconciliation():
    ended = run(*SMALL, "--requests", "400")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "oversold 0, lost 0, differences 0: every invariant held" in ended.stdout
    for words in ("throughput", "p50", "p99", "refused: sold_out", "http://127.0.0.1:"):
        assert words in ended.stdout


def test_a_kept_service_goes_on_and_ends_on_sigterm(tmp_path):
    ended = run(*SMALL, "--requests", "100", "--keep", "--data-dir", str(tmp_path), "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    address = json.loads(ended.stdout)["address"]
    pid = int(ended.stderr.split("`kill ")[1].split("`")[0])
    processes = [psutil.Process(pid), *descendants(pid)]
    with urllib.request.urlopen(f"{address}/healthz", timeout=SECONDS_MAX) as answer:
        assert answer.status == 200
    os.kill(pid, signal.SIGTERM)
    assert wait_until_gone(processes) == []


@pytest.mark.parametrize("scenario", ["flash-sale", "group-buy"])
def test_a_service_that_was_told_to_stay_serves_until_it_is_ended(scenario):
    few = ["--units", "10", "--buyers", "30", "--requests", "60", "--hold-seconds", "1"]
    with subprocess.Popen(
        demo("--json", "--stay", "--scenario", scenario, *few),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        # It ends with the pipe, too, where nothing stays.
        told = next((line for line in process.stderr if "stays up" in line), "")
        assert told, "it ended by itself"
        processes = descendants(process.pid)
        address = told.split("look around at ")[1].split("/console")[0]
        with urllib.request.urlopen(f"{address}/demo", timeout=SECONDS_MAX) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0, "what was asked for came to its end"
    assert json.loads(stdout)["ok"] is True
    assert wait_until_gone(processes) == []


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_ends_the_demo_and_all_it_started(number, status):
    with subprocess.Popen(
        demo("--json", "--requests", "100000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while "requests" not in process.stderr.readline():
            assert process.poll() is None
        processes = descendants(process.pid)
        assert len(processes) >= 4, "supervisor, writer, API worker, Valkey"
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == status
    assert stdout == ""
    assert "Traceback" not in stderr
    assert wait_until_gone(processes) == []


def test_a_service_that_dies_under_way_ends_the_demo_with_a_clear_error():
    with subprocess.Popen(
        demo("--json", "--requests", "100000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while "requests" not in process.stderr.readline():
            assert process.poll() is None
        processes = descendants(process.pid)
        supervisor = next(child for child in processes if "serve" in child.cmdline())
        supervisor.kill()
        stdout, stderr = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode not in {0, None}
    assert stdout == ""
    assert "service_failed" in stderr
    assert "Traceback" not in stderr
    assert wait_until_gone(processes) == []


def test_numbers_out_of_bounds_are_refused_before_anything_starts():
    started = time.monotonic()
    ended = run("--units", "0")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "units must be" in ended.stderr
    assert time.monotonic() - started < SECONDS_MAX


def test_a_port_that_is_taken_is_told(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run(*SMALL, "--port", str(port), "--data-dir", str(tmp_path))
    assert ended.returncode == 2
    assert "service_failed" in ended.stderr
    assert (Path(tmp_path) / "service.log").is_file()
