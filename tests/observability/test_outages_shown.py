"""An outage that was given back is told wherever somebody looks: by whoever is asked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.processes import Service, open_pool, reserve, run_flashstock, serving
from tests.observability.scraped import labels
from tests.observability.test_metrics_served import DOCUMENTED

pytestmark = pytest.mark.acceptance

HOUR_S = 3_600


@pytest.fixture(scope="module")
def held_before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Where a service had sold; and a hold as its buyer was told of it, an hour before the end."""
    data_dir = tmp_path_factory.mktemp("outage") / "data"
    with serving(data_dir) as service, service.client() as client:
        open_pool(client)
        told = reserve(client, "first").json()
        reserve(client, "second")
        assert service.stop() == 0
    with sqlite3.connect(data_dir / "ledger.db") as connection:
        connection.execute(f"UPDATE cursors SET alive_at_ms = alive_at_ms - {HOUR_S * 1_000}")
    connection.close()
    return data_dir, told


@pytest.fixture(scope="module")
def back(held_before: tuple[Path, dict[str, Any]]) -> Iterator[Service]:
    """The same service, which has taken it for away since then."""
    with serving(held_before[0]) as service:
        yield service


@pytest.fixture(scope="module")
def outage(back: Service) -> dict[str, Any]:
    with back.client() as client:
        (shard,) = client.get("/v1/ops/shards").json()["shards"]
    assert shard["outage"] is not None
    found: dict[str, Any] = shard["outage"]
    return found


def test_operators_are_told_when_it_was_and_for_how_many(outage):
    assert outage["holds"] == 2
    began, ended = (datetime.fromisoformat(outage[name]) for name in ("began_at", "ended_at"))
    assert (ended - began).total_seconds() == outage["given_back_seconds"] >= HOUR_S
    assert ended <= datetime.now(UTC)


def test_its_buyer_learns_the_new_deadline_by_asking(held_before, back, outage):
    told = held_before[1]
    with back.client() as client:
        now = client.get(f"/v1/reservations/{told['id']}").json()
    assert now["state"] == "held"
    before, after = (datetime.fromisoformat(one["expires_at"]) for one in (told, now))
    assert (after - before).total_seconds() == outage["given_back_seconds"]


def test_it_is_a_metric_from_the_journal(back, outage):
    with back.client() as client:
        text = client.get("/metrics").text
    shown = {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
        if family.name.startswith("flashstock_outage_")
    }
    ended = datetime.fromisoformat(outage["ended_at"]).timestamp()
    assert shown == {
        "flashstock_outage_last_timestamp_seconds": [({"shard": "0"}, ended)],
        "flashstock_outage_last_given_back_seconds": [
            ({"shard": "0"}, outage["given_back_seconds"])
        ],
        "flashstock_outage_last_holds": [({"shard": "0"}, 2)],
    }
    served = labels(text)
    assert {name: DOCUMENTED[name][1] for name in shown} == {name: served[name] for name in shown}


def test_the_console_says_it_beside_the_state(back, outage):
    with back.client() as client:
        page = client.get("/console/shards").text
    began = outage["began_at"]
    said = page.partition('data-testid="outage-0">')[2].partition("</span>")[0]
    assert said.startswith("2 holds got back the 1 h")
    assert f'of the outage of <time datetime="{began}"' in said


def test_the_doctor_says_it(back, outage):
    done = run_flashstock("doctor", "--json", "--data-dir", str(back.data_dir))
    found = {one["check"]: one for one in json.loads(done.stdout)["findings"]}["shard 0"]
    assert found["level"] == "ok"
    seconds = f"{outage['given_back_seconds']:.0f}"
    assert f"2 holds got back the {seconds} s from {outage['began_at']} on" in found["found"]
