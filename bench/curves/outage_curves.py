"""How long buyers are refused when Valkey is killed while a crowd buys: ``kill -9`` and back."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import redis

from bench import load
from bench.curves.curve import Row, Setting
from bench.curves.start_curves import filled
from bench.load import Load
from bench.measurements import MeasurementFailed
from bench.systems import Service, embedded_service

KILLED_AFTER_SECONDS: Final = 2.0
PROBED_SECONDS: Final = 14.0
"""Longer than the supervisor takes to forget a death: else it would wait longer every time."""
RATE: Final = 200.0
"""Requests a second: one every 5 ms, so that is how exact the window is."""
CONNECTIONS: Final = 512
_PING_SECONDS: Final = 0.002
_DECIDED: Final = ("200", "201", "409")


def outages(this: Setting) -> Iterator[Row]:
    """The embedded service with so many live holds; one row a kill."""
    with tempfile.TemporaryDirectory(prefix="outage-", dir=this.directory) as home:
        data = Path(home)
        holds = this.sizes.outage_holds
        with embedded_service(this.options, this.directory, data) as running:
            filled(running, holds)
            bought = replace(running, pool="bought")
            bought.create_pool("ledger")
            for number in range(this.sizes.starts):
                yield {"live_holds": holds, "kill": number + 1, **_outage(bought, data, number)}
            bought.reconcile()


def _outage(running: Service, data: Path, number: int) -> Row:
    """Kill its Valkey under an open-loop crowd and see when who answers again."""
    watching = _Watch(running.running["redis_url"], data / "valkey" / "valkey.pid")
    killer = threading.Timer(KILLED_AFTER_SECONDS, watching.kill)
    timeline = data / f"timeline-{number}.json"
    crowd = Load(
        url=running.url,
        pool=running.pool,
        tag=f"outage-{number}",
        connections=CONNECTIONS,
        seconds=PROBED_SECONDS,
        api_key=running.api_key,
    )
    killer.start()
    summary, _ = load.run_driver(crowd, ["--rate", str(RATE), "--timeline", str(timeline)])
    killer.join()
    answers = json.loads(timeline.read_text(encoding="utf-8"))
    refused = [at for due, at, status in answers if status == "503" and due > watching.killed_at]
    # Of those alone who came after the kill: an answer on its way was decided before it.
    served = [at for due, at, status in answers if status in _DECIDED and at > watching.back_at]
    if not served or summary["unanswered"]:
        raise MeasurementFailed(f"the service did not come back: {summary}")
    others = set(summary["statuses"]) - {*_DECIDED, "503"}
    if others:
        raise MeasurementFailed(f"answers nobody should get: {others}")
    longest = max(at - due for due, at, _ in answers)
    return {
        "valkey_away_seconds": watching.back_at - watching.killed_at,
        "until_first_served_seconds": min(served) - watching.back_at,
        "until_last_503_seconds": max(0.0, max(refused, default=0.0) - watching.back_at),
        "refused": len(refused),
        "longest_wait_seconds": longest,
    }


class _Watch:
    """Kills a Valkey and asks it until it answers again."""

    def __init__(self, url: str, pid_file: Path) -> None:
        self._url = url
        self._pid_file = pid_file
        self.killed_at = 0.0
        self.back_at = 0.0

    def kill(self) -> None:
        """Return once its successor answers a PING: with its data loaded."""
        os.kill(int(self._pid_file.read_text(encoding="utf-8")), signal.SIGKILL)
        self.killed_at = time.monotonic()
        while not self._answers():
            time.sleep(_PING_SECONDS)
        self.back_at = time.monotonic()

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self._url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
