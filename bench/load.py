"""Closed-loop load: how many requests a second a server answers when it is never left idle.

``wrk`` where it is installed (Debian has it), which takes little from the machine it shares; else
the suite's own generator (``bench.driver``): no package in the registries that is still kept up
makes more load than it measures from Python. Every request is another buyer with another key.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from bench.processes import cpu_seconds

WRK_SCRIPT: Final = Path(__file__).parent / "wrk" / "reserve.lua"
WRK_SECONDS_MIN: Final = 1.0
ANSWER_TIMEOUT_SECONDS: Final = 10
EXIT_GRACE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Load:
    """What to send.

    ``tag`` must be new for every run on a server: keys and buyers begin with it.
    """

    url: str
    pool: str
    tag: str
    connections: int
    seconds: float
    items_per_call: int = 1
    api_key: str = "bench"
    path: str = ""
    """Instead of the reservation endpoint; wrk and the driver send the same body to it."""
    pools: int = 1
    """Of more than one, only the driver can ask."""


@dataclass(frozen=True)
class LoadResult:
    """What came back.

    Closed-loop percentiles leave out the requests that a stall kept from being sent: they are for
    orientation, never for a ratio.
    """

    generator: str
    requests: int
    refused: int
    """Answers of status 400 and above."""
    items_refused: int
    """Of batch calls: items that were turned away inside an answer of 200."""
    socket_errors: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    generator_cores: float

    @property
    def succeeded(self) -> int:
        return self.requests - self.refused

    def rate_of(self, answers: int) -> float:
        """Of so many answers, how many a second."""
        return answers / self.seconds

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "succeeded": self.succeeded}


def generator_name() -> str:
    """Which generator this machine has."""
    return "wrk" if shutil.which("wrk") else "bench.driver"


def run(load: Load) -> LoadResult:
    """Send load for its time and count the answers.

    Raises:
        RuntimeError: the generator failed; the message has its output.
    """
    if shutil.which("wrk") and load.seconds >= WRK_SECONDS_MIN and load.pools == 1:
        return _run_wrk(load)
    return run_driver_closed(load)


def warm_up(load: Load, seconds: float) -> None:
    """The same load under another tag, its figures thrown away."""
    run(replace(load, seconds=seconds, tag=f"{load.tag}-warm"))


def _run_wrk(load: Load) -> LoadResult:
    # wrk takes whole seconds only.
    seconds = max(1, round(load.seconds))
    arguments = [
        *("wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s"),
        *(f"--timeout={ANSWER_TIMEOUT_SECONDS}s", "-s", str(WRK_SCRIPT), load.url + load.path),
        *("--", load.pool, load.tag, str(load.items_per_call), load.api_key, load.path),
    ]
    summary, cores = _run_generator(arguments, seconds)
    return LoadResult(
        generator="wrk",
        requests=summary["requests"],
        refused=summary["refused"],
        items_refused=summary["items_refused"],
        socket_errors=summary["socket_errors"],
        seconds=summary["duration_us"] / 1e6,
        p50_ms=summary["p50_us"] / 1e3,
        p99_ms=summary["p99_us"] / 1e3,
        max_ms=summary["max_us"] / 1e3,
        generator_cores=cores,
    )


def run_driver_closed(load: Load) -> LoadResult:
    """The same with the suite's own generator."""
    summary, cores = run_driver(load, ["--closed"])
    return LoadResult(
        generator="bench.driver",
        requests=summary["answered"],
        refused=sum(n for status, n in summary["statuses"].items() if int(status) >= 400),
        items_refused=summary["items_refused"],
        socket_errors=summary["socket_errors"],
        seconds=summary["seconds"],
        p50_ms=summary["p50_ms"],
        p99_ms=summary["p99_ms"],
        max_ms=summary["max_ms"],
        generator_cores=cores,
    )


def run_driver(load: Load, mode: list[str]) -> tuple[dict[str, Any], float]:
    """Run ``bench.driver`` in a process of its own: its report, and the cores it took."""
    arguments = [
        *(sys.executable, "-m", "bench.driver", "--url", load.url, "--pool", load.pool),
        *("--tag", load.tag, "--connections", str(load.connections)),
        *("--seconds", str(load.seconds), "--items-per-call", str(load.items_per_call)),
        *("--api-key", load.api_key, "--path", load.path, "--pools", str(load.pools), *mode),
    ]
    return _run_generator(arguments, load.seconds)


def _run_generator(arguments: list[str], seconds: float) -> tuple[dict[str, Any], float]:
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    watched = psutil.Process(process.pid)
    cpu = 0.0
    try:
        output, _ = process.communicate(timeout=max(0.1, seconds * 0.95))
    except subprocess.TimeoutExpired:
        cpu = cpu_seconds(watched.pid)  # near its end: afterwards there is nothing to ask
        output, _ = process.communicate(timeout=EXIT_GRACE_SECONDS)
    text = output.decode(errors="replace")
    if process.returncode != 0:
        raise RuntimeError(f"{arguments[0]} failed with status {process.returncode}:\n{text}")
    try:
        summary: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    except (IndexError, ValueError) as problem:
        raise RuntimeError(f"{arguments[0]} printed no summary:\n{text}") from problem
    return summary, round(cpu / (seconds * 0.95), 2)
