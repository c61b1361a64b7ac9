"""`flashstock` as real processes: started, asked over HTTP, sent real signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import psutil

Found = TypeVar("Found")

PATIENCE_SECONDS = 120.0
"""For what must happen sooner or later; nothing is asserted about how soon."""
PATIENT = {"FLASHSTOCK_REDIS_TIMEOUT_MS": "15000", "FLASHSTOCK_APPLIED_TIMEOUT_MS": "15000"}
"""A disk or a processor that others keep busy for a moment makes no 503 of the first answer."""


def eventually(look: Callable[[], Found], what: str) -> Found:
    """What ``look`` finds once it is true."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < give_up_at, f"it never came to this: {what}"
        time.sleep(0.02)
    return found


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anybody's settings, and with these."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FLASHSTOCK_")}
    return inherited | dict(settings or {})


def run_flashstock(
    *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "flashstock", *arguments],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


class Service:
    """One ``flashstock serve``, on a free port, with its stores in ``data_dir``."""

    def __init__(
        self, data_dir: Path, flags: Sequence[str], settings: Mapping[str, str] | None
    ) -> None:
        self.data_dir = data_dir
        self.ready_file = data_dir.parent / f"{data_dir.name}-ready.json"
        # Of a service that was killed; this one removes it as well, but later than we look.
        self.ready_file.unlink(missing_ok=True)
        self._log = (data_dir.parent / f"{data_dir.name}.log").open("a+", encoding="utf-8")
        command = [sys.executable, "-m", "flashstock", "serve", "--data-dir", str(data_dir)]
        command += ["--ready-file", str(self.ready_file)]
        command += flags if "--port" in flags else ["--port", "0", *flags]
        self.process = subprocess.Popen(
            command,
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._family: set[psutil.Process] = set()

    def wait_until_ready(self) -> None:
        """Return once it has said that it is ready; fail with its log if it ends instead."""
        eventually(
            lambda: self.ready_file.exists() or self.process.poll() is not None, "serve is ready"
        )
        assert self.process.poll() is None, self.log()
        self.remember_family()

    def wait_until_every_worker_is_open(self, shard_count: int = 1) -> None:
        """Return once every API worker has opened every shard: for the service to be ready one is
        enough, and the next request may meet another one.
        """

        def all_are_open() -> bool:
            entries = [json.loads(line) for line in self.log().splitlines() if line[:1] == "{"]
            opened = {
                (entry["pid"], entry["message"].partition(",")[0])
                for entry in entries
                if " is open, generation " in entry["message"]
            }
            said = [f"shard {shard} is open" for shard in range(shard_count)]
            return all((pid, one) in opened for pid in self.running["worker_pids"] for one in said)

        eventually(all_are_open, "every worker is open")

    def remember_family(self) -> None:
        """Take note of every process of the service that runs now."""
        own = psutil.Process(self.process.pid)
        self._family |= {own, *own.children(recursive=True)}

    @property
    def running(self) -> dict[str, Any]:
        """What the ready file says now."""
        found: dict[str, Any] = json.loads(self.ready_file.read_text())
        return found

    @property
    def url(self) -> str:
        return str(self.running["url"])

    def log(self) -> str:
        """Everything it has printed, in this and in earlier runs on the directory."""
        self._log.seek(0)
        return self._log.read()

    def survivors(self) -> list[psutil.Process]:
        """The processes of the service that still run."""
        return [
            process
            for process in self._family
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]

    def send(self, what: signal.Signals) -> None:
        self.process.send_signal(what)

    def ended(self) -> int:
        """Wait for the end; the exit status."""
        return self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """SIGTERM, and wait."""
        self.remember_family()
        self.send(signal.SIGTERM)
        return self.ended()

    def stops_listening(self) -> None:
        """Wait until no new connection is taken."""
        where = urlsplit(self._last_url)

        def refused() -> bool:
            try:
                socket.create_connection((where.hostname, where.port), timeout=5).close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                return False
            return False

        eventually(refused, "connections are refused")

    def client(self, **options: Any) -> httpx.Client:
        """An HTTP client for it; connections are not kept, so every worker gets its share."""
        self._last_url = self.url
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.Client(
            base_url=self._last_url, timeout=PATIENCE_SECONDS, limits=limits, **options
        )

    def clean_up(self) -> None:
        """Leave no process behind, whatever the test did."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.remember_family()
        for process in self.survivors():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(PATIENCE_SECONDS)
        self._log.close()


@contextmanager
def serving(
    data_dir: Path, *flags: str, settings: Mapping[str, str] | None = None, hasty: bool = False
) -> Iterator[Service]:
    """A service that is ready; whatever is left of it afterwards is killed.

    Args:
        hasty: with the limits that a service has by itself: for tests in which a store is away.
    """
    service = Service(data_dir, flags, {**({} if hasty else PATIENT), **(settings or {})})
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.clean_up()


def settled(send: Callable[[], httpx.Response | None], what: str) -> httpx.Response:
    """The first answer that is no 503, to a caller who asks again. ``None`` is no answer."""

    def decided() -> list[httpx.Response]:
        answer = send()
        return [] if answer is None or answer.status_code == 503 else [answer]

    return eventually(decided, what)[0]


def open_pool(client: httpx.Client, pool: str = "pool", quantity: int = 10) -> None:
    """A pool whose holds are acknowledged once they are in SQL."""
    open_pool_of(client, {"id": pool, "sku": "sku", "quantity": quantity})


def open_pool_of(client: httpx.Client, body: Mapping[str, Any]) -> None:
    """A pool with these rules, as a caller opens it who asks again while it is a 503."""
    headers = {"Idempotency-Key": f"open-{body['id']}"}
    answer = settled(
        lambda: client.post("/v1/pools", json=dict(body), headers=headers),
        f"{body['id']} is opened",
    )
    assert answer.status_code in (200, 201), answer.text


def reserve(client: httpx.Client, key: str, pool: str = "pool") -> httpx.Response:
    """One unit for one buyer."""
    body = {"pool": pool, "buyer": f"buyer-{key}", "quantity": 1}
    return client.post("/v1/reservations", json=body, headers={"Idempotency-Key": key})


def reserve_eventually(client: httpx.Client, key: str, pool: str = "pool") -> httpx.Response:
    """Retry with the same key, as a caller who meets a 503 or a lost connection should."""

    def sent() -> httpx.Response | None:
        try:
            return reserve(client, key, pool)
        except httpx.TransportError:
            return None

    answer = settled(sent, f"{key} is held")
    assert answer.status_code in (200, 201), answer.text
    return answer


def document_at(client: httpx.Client, path: str) -> dict[str, Any]:
    """What GET answers, asked again while it is a 503: each worker opens a lost shard by itself."""
    answer = settled(lambda: client.get(path), f"GET {path} is answered")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


class HalfRequest:
    """A reservation whose body the server waits for."""

    def __init__(self, url: str, key: str, pool: str = "pool") -> None:
        where = urlsplit(url)
        self._body = json.dumps({"pool": pool, "buyer": "slow", "quantity": 1}).encode()
        self._socket = socket.create_connection((where.hostname, where.port), PATIENCE_SECONDS)
        self._socket.sendall(
            f"POST /v1/reservations HTTP/1.1\r\nHost: {where.netloc}\r\nIdempotency-Key: {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self._body)}\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        asked = self._socket.recv(65_536)
        assert asked.startswith(b"HTTP/1.1 100"), asked

    def finish(self) -> bytes:
        """Send the body; all that comes back."""
        self._socket.sendall(self._body)
        answer = b""
        while received := self._socket.recv(65_536):
            answer += received
        return answer

    def close(self) -> None:
        self._socket.close()
