"""A real service tells a real receiver, counts what it did, and takes and gives files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.acceptance.processes import eventually, open_pool, reserve, run_flashstock, serving

pytestmark = [pytest.mark.acceptance]


@contextmanager
def receiving(refused: int = 1) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A receiver that refuses the first webhooks and takes all others."""
    received: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(500 if len(received) <= refused else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: the test tells."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", received
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("notices") / "data") as running:
        yield running


def test_a_warning_reaches_its_receiver_signed(service):
    with receiving() as (url, received), service.client() as client:
        made = client.post("/v1/webhooks", json={"url": url, "topics": ["warning.*"]}).json()
        open_pool(client, "few", 1)
        assert reserve(client, "the-one", "few").status_code == 201
        eventually(lambda: len(received) > 1, "the webhook is tried again")
        (first, _), (headers, body) = received[:2]
        assert first["webhook-id"] == headers["webhook-id"]
        Webhook(made["secret"]).verify(body, headers)
        document = json.loads(body)
        assert document["type"] == "warning.raised"
        assert document["data"]["kind"] == "nearly_sold_out"
        assert document["data"]["subject"] == "few"

        def delivered() -> Any:
            log = client.get("/v1/webhooks/deliveries", params={"state": "delivered"}).json()
            return log["items"]

        assert eventually(delivered, "it is in the log")[0]["attempts"] == 2
        assert client.get("/v1/warnings").json()["items"][0]["subject"] == "few"
        assert client.delete(f"/v1/webhooks/{made['id']}").status_code == 200


def test_the_service_counts_what_it_decided_and_what_it_refused(service):
    with service.client() as client:
        open_pool(client, "counted", 2)
        paid = reserve(client, "count-1", "counted").json()
        reserve(client, "count-2", "counted")
        for number in range(5):
            assert reserve(client, f"late-{number}", "counted").status_code == 409
        client.post(f"/v1/reservations/{paid['id']}/confirm", json={"payment_ref": "pay-count"})

        def counted() -> Any:
            found = client.get("/v1/statistics/counted")
            if found.status_code != 200:
                return None
            total = found.json()["total"]
            # What was refused is written down in portions, and what was paid by somebody else.
            return total if (total["paid"], total["requested"]) == (1, 7) else None

        total = eventually(counted, "it is counted")
        assert (total["held"], total["paid"]) == (2, 1)
        assert total["refused_by_reason"] == {"sold_out": 5}
        assert total["requested"] == 7
        shown = run_flashstock("stats", "counted", "--json", "--data-dir", str(service.data_dir))
        assert shown.returncode == 0, shown.stderr
        [pool] = json.loads(shown.stdout)["pools"]
        assert pool["total"] == total
        again = run_flashstock(
            "stats", "counted", "--json", "--recompute", "--data-dir", str(service.data_dir)
        )
        assert json.loads(again.stdout)["pools"] == [pool]
        table = run_flashstock("stats", "--data-dir", str(service.data_dir))
        assert "counted" in table.stdout


def test_files_and_statements_over_the_wire(service):
    csv = {"content-type": "text/csv", "idempotency-key": "wire"}
    with service.client() as client:
        text = "sku,title\n" + "".join(f"W{n},=hat {n}\n" for n in range(3_000))
        done = client.post("/v1/imports/skus", content=text.encode(), headers=csv)
        assert done.json()["created"] == 3_000, done.text
        lines = client.get("/v1/exports/skus.csv").text.splitlines()
        assert len(lines) == 3_001
        assert lines[1].split(",")[2] == "'=hat 0"
        statement = (
            "payment_ref,amount_minor,currency,kind,at,status\n"
            "nobody,1,EUR,payment,2026-11-22T12:00:00Z,succeeded\n"
        )
        query = {"gateway": "g", "day": "2026-11-22"}
        sent = client.post(
            "/v1/payments/statements", params=query, content=statement.encode(), headers=csv
        )
        assert sent.json()["cases"]["payment.there_not_here"] == 1, sent.text
        [case] = client.get("/v1/payments/cases").json()["items"]
        assert case["payment_ref"] == "nobody"
