"""Malformed requests by the thousand: every one is refused in so many words, and nothing is held.

A few thousand by default; ``CAMPAIGN=70 pytest --timeout 0 --log-cli-level INFO
tests/acceptance/test_malformed.py`` sends two hundred thousand and says what came back.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterable
from random import Random
from urllib.parse import urlsplit

import pytest

from tests.acceptance.malformed import ADMIN_KEY, OTHER, POOL, Case, Malformed
from tests.acceptance.processes import open_pool, reserve, serving
from tests.acceptance.wire import Answer, Line, check, reservations_in
from tests.recovery.audit import check_books, read_books
from tests.recovery.campaign import FACTOR, draws

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

REQUESTS = 3_000
CLIENTS = 8
STOCK = 1_000_000
AUTHORIZED = {"Authorization": f"Bearer {ADMIN_KEY}"}

logger = logging.getLogger(__name__)


class Client:
    """Sends one case after the other and remembers what it was told it holds."""

    def __init__(self, line: Line, cases: Malformed, random: Random) -> None:
        self._line = line
        self._cases = cases
        self._random = random
        self.told: set[str] = set()
        self.sent = 0
        self.met: Counter[str] = Counter()

    async def send(self, requests: int) -> None:
        try:
            while self.sent < requests:
                case = self._cases.draw()
                try:
                    await self._send(case)
                except Exception as problem:
                    raise AssertionError(f"{case.what}: {case.raw[:3_000]!r}") from problem
        finally:
            self._line.close()

    async def _send(self, case: Case) -> None:
        self.sent += 1
        if not case.is_whole:
            await self._send_anyhow(case)
            return
        pieces = [case.raw] if case.is_last else self._pieces(case.raw)
        answer = await self._line.ask(pieces, head_only=case.head_only)
        self._take([answer], head_only=case.head_only)
        if case.is_last:
            self._line.close()
        if case.twin is not None:
            self.sent += 1
            twin = await self._line.ask([case.twin], head_only=case.head_only)
            self._take([twin], head_only=case.head_only)
            same = answer.undated == twin.undated
            assert same or max(answer.status, twin.status) < 300, (answer, twin)

    async def _send_anyhow(self, case: Case) -> None:
        # A server that has read it all ends the connection in order, and no answer gets lost.
        pieces = self._pieces(case.raw) if case.in_pieces else [case.raw]
        answers, in_order = await self._line.all_answers(
            pieces, head_only=case.head_only, half_close=case.half_close
        )
        self.sent += case.granted
        if not in_order:
            self.met["cut off"] += 1
            assert case.in_pieces, "cut off"
        assert answers or case.half_close or not in_order, "no answer at all"
        granted = answers[: case.granted]
        assert [one.status for one in granted] == [201] * case.granted, answers
        self._take(answers, head_only=case.head_only)

    def _pieces(self, raw: bytes) -> list[bytes]:
        """The same bytes as the network may deliver them."""
        random = self._random
        cuts = sorted(random.sample(range(len(raw)), k=min(len(raw), random.choice([0, 0, 1, 3]))))
        return [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    def _take(self, answers: Iterable[Answer], *, head_only: bool) -> None:
        for answer in answers:
            check(answer, head_only=head_only)
            self.told |= set(reservations_in(answer))
            code = json.loads(answer.body)["code"] if answer.status >= 400 and answer.body else ""
            self.met[f"{answer.status} {code}".strip()] += 1


@pytest.mark.timeout(120 * FACTOR)
async def test_whatever_is_sent_is_answered_and_holds_nothing_that_was_refused(tmp_path):
    data_dir = tmp_path / "data"
    with serving(data_dir, settings={"FLASHSTOCK_ADMIN_KEY": ADMIN_KEY}) as service:
        with service.client(headers=AUTHORIZED) as client:
            open_pool(client, POOL, STOCK)
            open_pool(client, OTHER, 10)
            held = reserve(client, "first", POOL).json()["id"]
        service.remember_family()
        processes = set(service.survivors())
        where = urlsplit(service.url)
        assert where.hostname is not None
        assert where.port is not None
        clients = []
        name, random = next(iter(draws(1)))
        for number in range(CLIENTS):
            cases = Malformed(Random(random.random()), f"c{number}", held)
            line = Line(where.hostname, where.port)
            clients.append(Client(line, cases, Random(random.random())))
        async with asyncio.TaskGroup() as group:
            for one in clients:
                group.create_task(one.send(REQUESTS * FACTOR // CLIENTS))
        met = sum((one.met for one in clients), Counter[str]())
        logger.info("%d requests: %s", sum(one.sent for one in clients), dict(met.most_common()))
        with service.client(headers=AUTHORIZED) as client:
            assert client.get("/readyz").status_code == 200
            report = client.get("/v1/ops/reconciliation").json()
            assert report["ok"], report
        assert set(service.survivors()) == processes, "a process died"
        assert "Traceback" not in service.log()
        assert service.stop() == 0
    told = {held}.union(*(one.told for one in clients))
    books = await read_books(f"sqlite:///{data_dir / 'ledger.db'}")
    check_books(books)
    assert books.reservations.keys() == told
    assert not books.quarantined
    logger.info("%s: %d reservations, each of them told of", name, len(told))
