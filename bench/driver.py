"""The suite's own load generator: open loop for latency, closed loop where there is no wrk.

    python -m bench.driver --url http://127.0.0.1:8080 --pool p --tag t --rate 4000 --seconds 10

Open loop: requests are due at random (Poisson) moments whether or not earlier ones are answered,
and a request's latency counts from the moment it was **due**. A stall of the server is thus felt
by everyone who would have come in the meantime, as in life; a generator that waits for answers
before it sends on (coordinated omission) would not see it. With ``--turn-away`` a request that
finds no free connection when it is due is not sent at all but counted, as a crowd beyond what
the network takes.

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
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.targets import Target

TICK_SECONDS: Final = 0.001
ANSWER_GRACE_SECONDS: Final = 10.0
"""For answers still out when the last request has been sent."""
ACKNOWLEDGED: Final = frozenset({"200", "201"})
_RECEIVE_BYTES: Final = 65_536
_SEED: Final = 20261122


@dataclass(slots=True)
class Connection:
    """One keep-alive connection and the request that is out on it."""

    socket: socket.socket
    due_at: float = 0.0
    received: bytes = b""


@dataclass
class Tally:
    """What came back: latencies in seconds of the recorded part."""

    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By status."""
    waits: list[float] = field(default_factory=list)
    """Of each request, from due to sent: the generator's own delay, part of the latency."""
    by_second: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Answers by status and second of the run."""
    timeline: list[tuple[float, float, str]] = field(default_factory=list)
    """Open loop: when each request was due and when it was answered (seconds of the machine's
    monotonic clock), and with what; the warm-up's too."""
    acknowledged: list[bytes] | None = None
    """Bodies of the answers 201 and 200, where they are wanted; the warm-up's too."""
    answered: int = 0
    unanswered: int = 0
    turned_away: int = 0
    without_retry_after: int = 0
    """Answers 503 that don't say when to come back."""
    socket_errors: int = 0
    items_refused: int = 0
    """Of batch calls: items that were turned away inside an answer of 200."""

    def count(self, status: str, latency: float, second: int) -> None:
        self.latencies[status].append(latency)
        self.by_second[status, second] += 1
        self.answered += 1

    def read(self, status: str, head: bytes, body: bytes) -> None:
        if status == "503" and b"\r\nretry-after:" not in head:
            self.without_retry_after += 1
        if status == "200":
            self.items_refused += body.count(b'"status":503')
        if self.acknowledged is not None and status in ACKNOWLEDGED:
            self.acknowledged.append(body)

    def summary(self, seconds: float) -> dict[str, Any]:
        self.waits.sort()
        return {
            "seconds": seconds,
            "answered": self.answered,
            "unanswered": self.unanswered,
            "turned_away": self.turned_away,
            "without_retry_after": self.without_retry_after,
            "socket_errors": self.socket_errors,
            "items_refused": self.items_refused,
            "statuses": {status: len(found) for status, found in self.latencies.items()},
            **_percentiles([one for found in self.latencies.values() for one in found]),
            "wait_p99_ms": percentile(self.waits, 99) * 1e3,
            "by_status": {
                status: {**_percentiles(found), "by_second": self._seconds(status)}
                for status, found in self.latencies.items()
            },
        }

    def _seconds(self, status: str) -> list[int]:
        last = max(second for _, second in self.by_second)
        return [self.by_second[status, second] for second in range(last + 1)]


def _percentiles(latencies: list[float]) -> dict[str, float]:
    latencies.sort()
    wanted = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "p999_ms": 99.9, "max_ms": 100}
    return {name: percentile(latencies, rank) * 1e3 for name, rank in wanted.items()}


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
        self.tally = Tally()
        self._requests = target.requests()
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        for _ in range(connections):
            opened = socket.create_connection(target.address, ANSWER_GRACE_SECONDS)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setblocking(False)
            self._connections[opened.fileno()] = Connection(opened)
            self._epoll.register(opened.fileno(), select.EPOLLIN)

    def run_open(
        self, rate: float, warm_up_seconds: float, seconds: float, *, turn_away: bool = False
    ) -> dict[str, Any]:
        """Send ``rate`` requests a second; what was due in the warm-up is not counted.

        Args:
            turn_away: whether a request that finds no connection free is left out, rather than
                sent late.
        """
        whole = warm_up_seconds + seconds
        schedule = arrivals(rate, whole)
        prepared = [next(self._requests) for _ in schedule]
        free = list(self._connections.values())
        tally = self.tally
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
                while turn_away and sent < len(schedule) and schedule[sent] <= now:
                    tally.turned_away += schedule[sent] >= warm_up_seconds
                    sent += 1
                done = sent == len(schedule) and len(free) == len(self._connections)
                if done or now > give_up_at:
                    break
                for descriptor, _ in self._epoll.poll():
                    if descriptor == tick_fd:
                        os.read(tick_fd, 4096)
                        continue
                    connection = self._connections[descriptor]
                    answer = _receive(connection)
                    if answer is not None:
                        free.append(connection)
                        tally.read(*answer)
                        at = time.monotonic() - start
                        tally.timeline.append((start + connection.due_at, start + at, answer[0]))
                        if connection.due_at >= warm_up_seconds:
                            second = int(at - warm_up_seconds)
                            tally.count(answer[0], at - connection.due_at, second)
        tally.unanswered = len(schedule) - sent + len(self._connections) - len(free)
        return {"rate": rate, **tally.summary(seconds)}

    def run_closed(self, seconds: float, calls_max: int) -> dict[str, Any]:
        """Keep one request out on every connection for so long, or until so many were sent."""
        tally = self.tally
        waiting = sent = 0
        with _quiet():
            start = time.monotonic()
            for connection in self._connections.values():
                self._send_next(connection, time.monotonic())
                waiting += 1
            sent = waiting
            while waiting:
                for descriptor, _ in self._epoll.poll(ANSWER_GRACE_SECONDS):
                    connection = self._connections[descriptor]
                    answer = _receive(connection)
                    if answer is None:
                        continue
                    tally.read(*answer)
                    now = time.monotonic()
                    tally.count(answer[0], now - connection.due_at, int(now - start))
                    if now - start < seconds and sent < calls_max:
                        self._send_next(connection, now)
                        sent += 1
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


def _receive(connection: Connection) -> tuple[str, bytes, bytes] | None:
    """Read what is there; status, head (in lower case) and body once the answer is whole."""
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
            return received[9:12].decode(), head, received[head_end + 4 :]
    connection.received = received
    return None


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
    parser.add_argument("--pools", type=int, default=1, help="asked for equally often")
    parser.add_argument("--calls", type=int, default=sys.maxsize, help="closed loop: at most")
    parser.add_argument("--turn-away", action="store_true", help="open loop: never send late")
    parser.add_argument("--timeline", type=Path, help="open loop: where to write when what came")
    parser.add_argument("--acknowledged", type=Path, help="where to write what 201 and 200 said")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--rate", type=float, help="open loop: requests a second")
    mode.add_argument("--closed", action="store_true", help="closed loop: as fast as it answers")
    given = parser.parse_args()
    target = Target(
        *(given.url, given.pool, given.tag, given.items_per_call, given.api_key, given.path),
        given.pools,
    )
    driver = Driver(target, given.connections)
    if given.acknowledged is not None:
        driver.tally.acknowledged = []
    if given.closed:
        summary = driver.run_closed(given.seconds, given.calls)
    else:
        times = (given.rate, given.warm_up_seconds, given.seconds)
        summary = driver.run_open(*times, turn_away=given.turn_away)
    if driver.tally.acknowledged is not None:
        given.acknowledged.write_bytes(b"\n".join(driver.tally.acknowledged))
    if given.timeline is not None:
        given.timeline.write_text(json.dumps(driver.tally.timeline), encoding="utf-8")
    json.dump(summary, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
