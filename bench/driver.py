"""The suite's own load generator: open loop for latency, closed loop where there is no wrk.

    python -m bench.driver --url http://127.0.0.1:8080 --pool p --tag t --rate 4000 --seconds 10

Open loop: requests are due at random (Poisson) moments whether or not earlier ones are answered,
and a request's latency counts from the moment it was **due**. A stall of the server is thus felt
by everyone who would have come in the meantime, as in life; a generator that waits for answers
before it sends on (coordinated omission) would not see it.

Arrivals fall on a grid of one millisecond, so that the timer's own grain is charged to nobody. The
requests are made beforehand and there is no event loop in the way: the generator shares the
machine with what it measures.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import random
import select
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

TICK_SECONDS: Final = 0.001
ANSWER_GRACE_SECONDS: Final = 10.0
"""For answers still out when the last request has been sent."""
_RECEIVE_BYTES: Final = 65_536
_SEED: Final = 20261122


@dataclass(frozen=True)
class Target:
    """Where requests go and what is in them."""

    url: str
    pool: str
    tag: str
    items_per_call: int
    api_key: str
    path: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "127.0.0.1", parts.port or 80

    def requests(self) -> Iterator[bytes]:
        """Without end, each another buyer with another key."""
        host, port = self.address
        single = self.items_per_call == 1
        path = self.path or ("/v1/reservations" if single else "/v1/reservations/batch")
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self.api_key}\r\n"
        )
        number = 0
        while True:
            keys = [f"{self.tag}-{number + index}" for index in range(self.items_per_call)]
            number += self.items_per_call
            bodies = [f'"pool":"{self.pool}","buyer":"b-{key}","quantity":1}}' for key in keys]
            if single:
                body = "{" + bodies[0]
            else:
                pairs = zip(keys, bodies, strict=True)
                items = ",".join(f'{{"idempotency_key":"{key}",{rest}' for key, rest in pairs)
                body = f'{{"items":[{items}]}}'
            yield (
                f"{head}Idempotency-Key: {keys[0]}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            ).encode()


@dataclass(slots=True)
class Connection:
    """One keep-alive connection and the request that is out on it."""

    socket: socket.socket
    due_at: float = 0.0
    received: bytes = b""


@dataclass
class Tally:
    """What came back: latencies in seconds of the recorded part."""

    latencies: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    """Of each request, from due to sent: the generator's own delay, part of the latency."""
    statuses: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    unanswered: int = 0
    socket_errors: int = 0

    def summary(self, seconds: float) -> dict[str, Any]:
        self.latencies.sort()
        self.waits.sort()
        return {
            "seconds": seconds,
            "answered": self.answered,
            "unanswered": self.unanswered,
            "socket_errors": self.socket_errors,
            "statuses": dict(self.statuses),
            "p50_ms": percentile(self.latencies, 50) * 1e3,
            "p90_ms": percentile(self.latencies, 90) * 1e3,
            "p99_ms": percentile(self.latencies, 99) * 1e3,
            "p999_ms": percentile(self.latencies, 99.9) * 1e3,
            "max_ms": percentile(self.latencies, 100) * 1e3,
            "wait_p99_ms": percentile(self.waits, 99) * 1e3,
        }


def percentile(ordered: list[float], percent: float) -> float:
    """Nearest rank; 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


class ServerClosed(ConnectionError):
    """A keep-alive connection was closed under a request."""


class Driver:
    """A set of keep-alive connections, one request out on each at most."""

    def __init__(self, target: Target, connections: int) -> None:
        self._requests = target.requests()
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        for _ in range(connections):
            opened = socket.create_connection(target.address, ANSWER_GRACE_SECONDS)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setblocking(False)
            self._connections[opened.fileno()] = Connection(opened)
            self._epoll.register(opened.fileno(), select.EPOLLIN)

    def run_open(self, rate: float, warm_up_seconds: float, seconds: float) -> dict[str, Any]:
        """Send ``rate`` requests a second; what was due in the warm-up is not counted."""
        whole = warm_up_seconds + seconds
        schedule = arrivals(rate, whole)
        prepared = [next(self._requests) for _ in schedule]
        free = list(self._connections.values())
        tally = Tally()
        sent = 0
        with _quiet(), _ticking(self._epoll) as tick_fd:
            start = time.monotonic()
            give_up_at = whole + ANSWER_GRACE_SECONDS
            while True:
                now = time.monotonic() - start
                while free and sent < len(schedule) and schedule[sent] <= now:
                    connection = free.pop()
                    connection.due_at = schedule[sent]
                    connection.socket.send(prepared[sent])
                    sent += 1
                    if connection.due_at >= warm_up_seconds:
                        tally.waits.append(now - connection.due_at)
                done = sent == len(schedule) and len(free) == len(self._connections)
                if done or now > give_up_at:
                    break
                for descriptor, _ in self._epoll.poll():
                    if descriptor == tick_fd:
                        os.read(tick_fd, 4096)
                        continue
                    connection = self._connections[descriptor]
                    status = _receive(connection)
                    if status:
                        free.append(connection)
                        if connection.due_at >= warm_up_seconds:
                            latency = time.monotonic() - start - connection.due_at
                            tally.latencies.append(latency)
                            tally.statuses[status] += 1
                            tally.answered += 1
        tally.unanswered = len(schedule) - sent + len(self._connections) - len(free)
        return {"rate": rate, **tally.summary(seconds)}

    def run_closed(self, seconds: float) -> dict[str, Any]:
        """Keep one request out on every connection for so long."""
        tally = Tally()
        waiting = 0
        with _quiet():
            start = time.monotonic()
            for connection in self._connections.values():
                self._send_next(connection, time.monotonic())
                waiting += 1
            while waiting:
                for descriptor, _ in self._epoll.poll(ANSWER_GRACE_SECONDS):
                    connection = self._connections[descriptor]
                    status = _receive(connection)
                    if not status:
                        continue
                    now = time.monotonic()
                    tally.latencies.append(now - connection.due_at)
                    tally.statuses[status] += 1
                    tally.answered += 1
                    if now - start < seconds:
                        self._send_next(connection, now)
                    else:
                        waiting -= 1
        return tally.summary(time.monotonic() - start)

    def _send_next(self, connection: Connection, now: float) -> None:
        connection.due_at = now
        connection.socket.send(next(self._requests))


def arrivals(rate: float, seconds: float) -> list[float]:
    """Poisson arrivals on the tick grid, the same ones in every run."""
    source = random.Random(_SEED)
    moments = []
    at = source.expovariate(rate)
    while at < seconds:
        moments.append(math.ceil(at / TICK_SECONDS) * TICK_SECONDS)
        at += source.expovariate(rate)
    return moments


def _receive(connection: Connection) -> str:
    """Read what is there; the status once the answer is whole, else ''."""
    data = connection.socket.recv(_RECEIVE_BYTES)
    if not data:
        raise ServerClosed(f"the server closed a connection after {connection.received[:80]!r}")
    received = connection.received + data if connection.received else data
    head_end = received.find(b"\r\n\r\n")
    if head_end >= 0:
        head = received[:head_end].lower()
        at = head.find(b"content-length:")
        if at < 0:
            raise ServerClosed(f"an answer without a length: {head!r}")
        line_end = head.find(b"\r\n", at)
        length = int(head[at + 15 : line_end if line_end >= 0 else head_end])
        if len(received) >= head_end + 4 + length:
            connection.received = b""
            return received[9:12].decode()
    connection.received = received
    return ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No garbage collection while latencies are taken."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def _ticking(epoll: select.epoll) -> Iterator[int]:
    """Wake the poll every tick: its own timeout knows only whole milliseconds, rounded up."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    epoll.register(reader.fileno(), select.EPOLLIN)
    signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
    try:
        yield reader.fileno()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.set_wakeup_fd(-1)
        epoll.unregister(reader.fileno())
        reader.close()
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("--url", "--pool", "--tag"):
        parser.add_argument(name, required=True)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--items-per-call", type=int, default=1)
    parser.add_argument("--api-key", default="bench")
    parser.add_argument("--path", default="")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warm-up-seconds", type=float, default=0.0)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--rate", type=float, help="open loop: requests a second")
    mode.add_argument("--closed", action="store_true", help="closed loop: as fast as it answers")
    given = parser.parse_args()
    target = Target(
        given.url, given.pool, given.tag, given.items_per_call, given.api_key, given.path
    )
    driver = Driver(target, given.connections)
    if given.closed:
        summary = driver.run_closed(given.seconds)
    else:
        summary = driver.run_open(given.rate, given.warm_up_seconds, given.seconds)
    json.dump(summary, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
