"""Live pages over real sockets: pictures come, and end when they must."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx

from tests.acceptance.processes import PATIENCE_SECONDS, serving
from tests.console.conftest import Shop
from tests.console.visitor import Visitor, events

HELD = re.compile(r'data-testid="held">.*?<strong>([\d,]+)</strong>', re.DOTALL)
SAMPLED = re.compile(r'data-testid="sampled-at"><time datetime="([^"]+)"')


def test_pictures_follow_what_happens(shop: Shop):
    visitor = shop.visitor("ops")
    with visitor.client.stream("GET", "/console/live/pool/mugs") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        assert events(response, 1)
    held = shop.pool("mugs")["held"]
    # What is shown first may have been read before the last change.
    with visitor.client.stream("GET", "/console/live/pool/mugs") as response:
        assert any(HELD.findall(picture) == [f"{held}"] for picture in events(response, 3))
    hold = {"pool": "mugs", "buyer": "live", "quantity": 1}
    shop.api("POST", "/v1/reservations", hold, key="live-1")
    with visitor.client.stream("GET", "/console/live/pool/mugs") as response:
        pictures = events(response, 3)
    assert len({SAMPLED.findall(picture)[0] for picture in pictures}) == 3
    assert HELD.findall(pictures[-1]) == [f"{held + 1}"]


def test_all_who_watch_see_the_same_pictures(shop: Shop):
    all_watch = Barrier(5)
    begun: list[str] = []

    def watch(visitor: Visitor) -> set[str]:
        with visitor.client.stream("GET", "/console/live/overview") as response:
            lines = response.iter_lines()
            begun.append(_moments(lines, 1)[0])
            all_watch.wait(timeout=PATIENCE_SECONDS)
            # What came while others were not there yet is still to be read.
            return set(_moments(lines, 4, since=max(begun)))

    with ThreadPoolExecutor(5) as pool:
        seen = list(pool.map(watch, [shop.visitor("ops") for _ in range(5)]))
    # One reading a second for all of them: five viewers apart would have none in common.
    assert set.intersection(*seen)


def _moments(lines: Iterator[str], count: int, since: str = "") -> list[str]:
    """When the next pictures were taken."""
    found: list[str] = []
    while len(found) < count:
        found += [moment for moment in SAMPLED.findall(next(lines)) if moment >= since]
    return found


def test_nobody_watches_without_a_session(shop: Shop):
    response = shop.visitor().client.get("/console/live/overview")
    assert response.status_code == 303


def test_a_stream_ends_when_the_key_is_revoked(shop: Shop):
    key = shop.api("POST", "/v1/keys", {"name": "watcher", "role": "ops"})["key"]
    visitor = shop.visitor()
    visitor.sign_in(key)
    with visitor.client.stream("GET", "/console/live/overview") as response:
        lines = response.iter_lines()
        assert any(line.startswith("data:") for line in lines)
        shop.api("DELETE", "/v1/keys/watcher")
        rest = list(lines)
    assert "event: signed-out" in rest


def test_streams_end_in_order_when_the_service_stops(tmp_path: Path):
    with serving(tmp_path / "data") as service:
        visitor = Visitor(service.url)
        with visitor.client.stream("GET", "/console/live/overview") as response:
            lines = response.iter_lines()
            assert any(line.startswith("data:") for line in lines)
            stopping = ThreadPoolExecutor(1).submit(service.stop)
            try:
                list(lines)  # to its very end: a stream that is cut off raises
            except httpx.RemoteProtocolError as cut:
                raise AssertionError("the stream was cut off") from cut
        assert stopping.result() == 0
        assert "stopped" in service.log()
