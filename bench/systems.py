"""The HTTP systems that are compared, each as real processes for the time of one measurement."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from bench.options import Options
from bench.processes import Child, running
from bench.stores import Postgres, Valkey
from flashstock.supervisor.sockets import bind, listen, url_of

POOL: Final = "bench"
POOL_UNITS: Final = 100_000_000
"""More than any run takes, so that every request wins."""
HOLD_SECONDS: Final = 3_600
"""Longer than any run: no hold ends under measurement. What expiry costs has its own curve."""
PER_BUYER_LIMIT: Final = 2
"""A limit must be checked, and every request is another buyer."""
PATIENT: Final = {"FLASHSTOCK_REDIS_TIMEOUT_MS": "30000", "FLASHSTOCK_APPLIED_TIMEOUT_MS": "30000"}
"""For a smoke run, which may have to share a machine with a whole test suite."""
READY_TIMEOUT_SECONDS: Final = 600.0
"""A start may have to rebuild a million holds."""
SETTLE_TIMEOUT_SECONDS: Final = 600.0
_POLL_SECONDS: Final = 0.05


class InvariantBroken(RuntimeError):
    """The books of a system did not balance after a measurement: the run has failed."""


@contextmanager
def asgi(
    target: str, options: Options, directory: Path, environment: dict[str, str] | None = None
) -> Iterator[tuple[str, dict[str, int]]]:
    """One of the suite's apps on as many workers as the service; yields its URL and pids."""
    with ExitStack() as stack:
        listener = stack.enter_context(bind("127.0.0.1", 0))
        listener.set_inheritable(True)
        listen(listener)
        descriptor = listener.fileno()
        arguments = [sys.executable, "-m", "bench.asgi_server", target]
        arguments += ["--server", options.server, "--fd", str(descriptor)]
        whole = {**os.environ, **(environment or {})}
        workers = [
            stack.enter_context(
                running(f"asgi-{number}", arguments, directory, whole, (descriptor,))
            )
            for number in range(options.workers)
        ]
        url = url_of(listener)
        for worker in workers:
            worker.wait_until(lambda: _answers(url))
        yield url, {"api": workers[0].pid}


def _answers(url: str) -> bool:
    try:
        httpx.post(url, timeout=1.0)
    except httpx.TransportError:
        return False
    return True


@dataclass(frozen=True)
class Service:
    """A running flashstock and a client for what is not measured."""

    url: str
    api_key: str
    child: Child
    client: httpx.Client
    running: dict[str, Any]
    """What ``serve`` wrote to its ready file."""
    environment: dict[str, str]
    pool: str = POOL
    """The pool that the load is for."""

    def pids(self, postgres: Postgres, valkey: Valkey) -> dict[str, int]:
        """What to watch: one name for each part of the system."""
        pids = {"api": self.running["worker_pids"][0], "valkey": valkey.child.pid}
        if self.running["writer_pid"] is not None:
            pids["writer"] = self.running["writer_pid"]
        return {**pids, "postgres": postgres.pid}

    def create_pool(
        self,
        durability: str,
        units: int = POOL_UNITS,
        hold_seconds: int = HOLD_SECONDS,
        group_size: int = 0,
    ) -> None:
        """Open the pool; with a group size, one that sells to such groups only."""
        body = {
            "id": self.pool,
            "sku": "bench-sku",
            "quantity": units,
            "per_buyer_limit": PER_BUYER_LIMIT,
            "hold_seconds": hold_seconds,
            "durability": durability,
            **({"group_buy": {"size": group_size}} if group_size else {}),
        }
        self.client.post("/v1/pools", json=body).raise_for_status()

    def take(self, quantity: int) -> None:
        """Hold some units by one ordinary request."""
        body = {"pool": self.pool, "buyer": "first", "quantity": quantity}
        key = {"Idempotency-Key": f"take-{secrets.token_hex(8)}"}
        self.client.post("/v1/reservations", json=body, headers=key).raise_for_status()

    def units_held(self) -> int:
        held: int = self.client.get(f"/v1/pools/{self.pool}").raise_for_status().json()["held"]
        return held

    def shard_positions(self) -> tuple[int, int]:
        """Events decided and events committed, over all shards."""
        shards = self._shards()
        return sum(one["seq"] for one in shards), sum(one["applied_seq"] for one in shards)

    def _shards(self) -> list[dict[str, Any]]:
        answer = self.client.get("/v1/ops/shards").raise_for_status()
        shards: list[dict[str, Any]] = answer.json()["shards"]
        return shards

    def wait_until_ready(self) -> None:
        """Return once the pool can be read again after a recovery.

        A worker notices that its data set was replaced when it next asks something of it.

        Raises:
            InvariantBroken: it does not.
        """
        give_up_at = time.monotonic() + SETTLE_TIMEOUT_SECONDS
        while (answer := self.client.get(f"/v1/pools/{self.pool}")).status_code != httpx.codes.OK:
            if time.monotonic() > give_up_at:
                raise InvariantBroken(f"the service does not get ready again: {answer.text}")
            time.sleep(_POLL_SECONDS)

    def wait_until_applied(self) -> None:
        """Return once everything decided is committed.

        Raises:
            InvariantBroken: the writer does not get there.
        """
        give_up_at = time.monotonic() + SETTLE_TIMEOUT_SECONDS
        while True:
            shards = self._shards()
            # A shard that is being recovered says neither.
            if all(one["seq"] == one["applied_seq"] is not None for one in shards):
                return
            if time.monotonic() > give_up_at:
                raise InvariantBroken(f"not everything gets committed: {shards}")
            time.sleep(_POLL_SECONDS)

    def reconcile(self) -> dict[str, Any]:
        """The service's own proof that Redis and SQL agree and nothing is oversold or lost.

        Raises:
            InvariantBroken: it found something; the message says what.
        """
        self.wait_until_applied()
        report: dict[str, Any] = (
            self.client.get("/v1/ops/reconciliation", timeout=SETTLE_TIMEOUT_SECONDS)
            .raise_for_status()
            .json()
        )
        if not report["ok"] or report["oversold"] or report["lost"]:
            raise InvariantBroken(f"reconciliation: {json.dumps(report)[:2000]}")
        names = ("pools_checked", "reservations_checked", "differences_count", "oversold", "lost")
        return {name: report[name] for name in names}


@contextmanager
def service(
    options: Options,
    directory: Path,
    valkey: Valkey,
    database_url: str,
    *,
    with_writer: bool = True,
    settings: dict[str, str] | None = None,
) -> Iterator[Service]:
    """``flashstock serve`` on these stores, as an operator would run it, ready for requests."""
    own = {
        "FLASHSTOCK_REDIS_URL": valkey.url,
        "FLASHSTOCK_DATABASE_URL": database_url,
        "FLASHSTOCK_DATA_DIR": str(directory / "data"),
        **(settings or {}),
    }
    with _serve(options, directory, own, with_writer=with_writer) as running_service:
        yield running_service


@contextmanager
def embedded_service(options: Options, directory: Path, data: Path) -> Iterator[Service]:
    """``flashstock serve`` with its own Valkey and SQLite in ``data``, ready for requests."""
    own = {"FLASHSTOCK_DATA_DIR": str(data), "FLASHSTOCK_BACKLOG_EVENTS_MAX": "50000000"}
    with _serve(options, directory, own, with_writer=True) as running_service:
        yield running_service


@contextmanager
def _serve(
    options: Options, directory: Path, settings: dict[str, str], *, with_writer: bool
) -> Iterator[Service]:
    api_key = f"bench-{secrets.token_hex(16)}"
    ready_file = directory / f"ready-{secrets.token_hex(4)}.json"
    environment = {
        # What else is set would make this run another system than the next one.
        **{name: value for name, value in os.environ.items() if not name.startswith("FLASHSTOCK_")},
        "FLASHSTOCK_ADMIN_KEY": api_key,
        "FLASHSTOCK_HTTP_SERVER": options.server,
        "FLASHSTOCK_WORKERS": str(options.workers),
        "FLASHSTOCK_PORT": "0",
        "FLASHSTOCK_LOG_LEVEL": "warning",
        **(PATIENT if options.smoke else {}),
        **settings,
    }
    arguments = [sys.executable, "-m", "flashstock", "serve", "--ready-file", str(ready_file)]
    if not with_writer:
        arguments.append("--no-writer")
    with running("serve", arguments, directory, environment) as child:
        child.wait_until(ready_file.is_file, READY_TIMEOUT_SECONDS)
        told = json.loads(ready_file.read_text(encoding="utf-8"))
        headers = {"Authorization": f"Bearer {api_key}"}
        with httpx.Client(base_url=told["url"], headers=headers, timeout=30.0) as client:
            yield Service(told["url"], api_key, child, client, told, environment)
