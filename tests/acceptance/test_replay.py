"""`flashstock replay` as a user starts it, on small days and, where they are, on real ones."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flashstock.client import LocalService
from tests.unit.replay.days import HEADER, row, write

SECONDS_MAX = 300
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3 * SECONDS_MAX)]
CHECKOUT = Path(__file__).resolve().parents[2]
REAL_DAYS = sorted(
    Path(os.environ.get("TRADING_DAYS", CHECKOUT.parent / "shared" / "data")).glob("*.csv")
)
"""Real trading days: not ours to ship, so they are looked for beside the checkout."""


@pytest.fixture(scope="module")
def service_url() -> Iterator[str]:
    """A service that the days below share; each run has pools, keys and payments of its own."""
    with asyncio.Runner() as runner:
        service = LocalService()
        runner.run(service.__aenter__())
        yield service.url
        runner.run(service.__aexit__(None, None, None))


def replay(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flashstock", "replay", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def document_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("\n") == 1, "stdout holds one object and nothing else"
    document: dict[str, Any] = json.loads(ended.stdout)
    assert (document["oversold"], document["lost"], document["differences"]) == (0, 0, 0)
    assert document["reconciliation"]["ok"] is True
    assert document["rows"] == (
        document["rows_in_carts"] + document["rows_returned"] + sum(document["skipped"].values())
    )
    assert document["carts"] == document["carts_admitted"] + document["carts_refused"]
    assert document["stock_identity"]["ok"] is document["stock_identity"]["deep"] is True
    assert document["allocated_units"] == document["received_units"]
    assert document["shipped_units"] == document["sold_units"]
    assert document["left_on_hand_units"] == (
        document["received_units"] - document["shipped_units"] + document["returned_units"]
    )
    return document


SMALL_DAY = [
    row("1", "85123A", 4, "2010-12-01 08:00:00"),
    row("1", "71053", 2, "2010-12-01 08:00:00"),
    row("1", "85123a", 2, "2010-12-01 08:00:00"),
    row("1", "POST", 1, "2010-12-01 08:00:00", "18.0"),
    row("2", "85123A", 9, "2010-12-01 08:05:00", buyer=""),
    row("3", "22423", 2000, "2010-12-01 08:06:00", buyer="9.0"),
    row("C4", "85123A", -5, "2010-12-01 08:10:00"),
    row("C5", "71053", -7, "2010-12-01 08:11:00", buyer=""),
    row("6", "22423", -3, "2010-12-01 08:12:00", "0.0", ""),
    row("7", "22423", 3, "2010-12-01 08:12:00", "0.0", ""),
    row("8", "22423", "many", "2010-12-01 08:12:00"),
    row("9", "22423", 1, "some day"),
    "10,22423",
]


def test_a_small_day_with_everything_in_it(tmp_path):
    day = write(tmp_path / "day.csv", SMALL_DAY)
    document = document_of(replay(day, "--stock-ratio", "0.99", "--json"))
    assert document["rows"] == 13
    assert document["carts"] == 3
    assert document["skipped"] == {
        "not_goods": 1,
        "correction": 1,
        "no_price": 1,
        "bad_quantity": 1,
        "bad_date": 1,
        "malformed_row": 1,
    }
    # 15, 2 and 1,980 units are there: enough for the carts of 85123A and 71053, not for the 2,000.
    assert document["refused"] == {"sold_out": 1}
    assert document["sold_units"] == 6 + 2 + 9
    assert document["returned_units"] == 12
    assert document["returned_units_of_earlier_days"] == 7
    assert document["held"] == document["confirmed"] == 3
    assert (document["expired"], document["cancelled"]) == (0, 0)
    assert document["audit"]["pools_checked"] == 3
    # Two carts are sent, the two lines of one of them together; what came back is left, too.
    assert (document["shipments"], document["orders_checked"]) == (2, 3)
    assert document["received_units"] == 15 + 2 + 1980
    assert document["left_on_hand_units"] == 15 + 2 + 1980 - 17 + 12
    assert (document["skus_checked"], document["campaigns"]) == (3, 1)


def test_a_sku_that_sells_out_is_all_sent_and_one_return_is_all_that_is_left(tmp_path, service_url):
    rows = [
        row("1", "85123A", 4, "2010-12-01 08:00:00", buyer="7.0"),
        row("2", "85123A", 5, "2010-12-01 08:05:00", buyer="8.0"),
        row("3", "85123A", 1, "2010-12-01 08:09:00", buyer="9.0"),
        row("C4", "85123A", -2, "2010-12-01 08:10:00", buyer="8.0"),
    ]
    day = write(tmp_path / "day.csv", rows)
    document = document_of(replay(day, "--stock-ratio", "0.9", "--url", service_url, "--json"))
    assert document["refused"] == {"sold_out": 1}
    assert document["received_units"] == document["sold_units"] == 9
    assert document["returned_units"] == document["left_on_hand_units"] == 2
    assert document["returned_units_of_earlier_days"] == 0
    assert document["sent"]["order_return"] == 1


def test_too_little_stock_refuses_whole_carts(tmp_path, service_url):
    rows = [row(str(n), code, 2) for n in range(20) for code in ("85123A", "71053")]
    document = document_of(
        replay(
            write(tmp_path / "day.csv", rows),
            "--stock-ratio",
            "0.5",
            "--url",
            service_url,
            "--json",
        )
    )
    assert document["carts_admitted"] == 10
    assert document["refused"] == {"sold_out": 10}
    assert document["sold_units"] == 40


def test_nothing_in_stock_sells_nothing(tmp_path, service_url):
    day = write(tmp_path / "day.csv", [row("1"), row("C2", "85123A", -3)])
    document = document_of(replay(day, "--stock-ratio", "0", "--url", service_url, "--json"))
    assert document["sold_units"] == document["received_units"] == 0
    assert document["returned_units"] == document["left_on_hand_units"] == 3
    assert document["refused"] == {"sold_out": 1}


def test_words_end_with_the_reconciliation(tmp_path):
    ended = replay(write(tmp_path / "day.csv", SMALL_DAY))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "oversold 0, lost 0, differences 0: every invariant held" in ended.stdout
    assert "skipped: not_goods" in ended.stdout
    for shown in ("received", "allocated", "sold", "shipped", "returned", "left_on_hand"):
        assert f"{shown}_units" in ended.stdout
    assert re.search("stock identity +holds", ended.stdout)
    assert "3/3 pools given back to the book" in ended.stderr


def test_holds_that_are_not_paid_stay(tmp_path, service_url):
    day = write(tmp_path / "day.csv", SMALL_DAY)
    document = document_of(replay(day, "--hold-only", "--url", service_url, "--json"))
    assert document["confirmed"] == document["sold_units"] == 0
    assert document["held"] > 0


def test_speed_scales_the_day(tmp_path, service_url):
    rows = [row("1", at="2010-12-01 08:00:00"), row("2", at="2010-12-01 08:02:00")]
    day = write(tmp_path / "day.csv", rows)
    document = document_of(
        replay(day, "--stock-ratio", "1", "--speed", "60", "--url", service_url, "--json")
    )
    assert document["seconds"] >= 2.0
    assert document["sold_units"] == 12


def test_an_old_encoding_is_read_and_said(tmp_path, service_url):
    day = write(tmp_path / "day.csv", [row(description="CRÈME £5")], encoding="cp1252")
    ended = replay(day, "--stock-ratio", "1", "--url", service_url, "--json")
    assert document_of(ended)["sold_units"] == 6
    assert "cp1252" in ended.stderr


def test_a_day_without_sales_reconciles(tmp_path, service_url):
    document = document_of(replay(write(tmp_path / "day.csv", []), "--url", service_url, "--json"))
    assert (document["rows"], document["carts"], document["held"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no such file"),
        (b"", "empty"),
        (HEADER.replace("StockCode", "Sku").encode(), "lacks StockCode"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "not a text file"),
        (HEADER.encode("utf-16"), "UTF-16"),
        (
            "".join(
                f"{line}\n" for line in (HEADER, row("1", "22423", 1, "12/1/2010 8:26"))
            ).encode(),
            "line 2: bad_date (a date is like 2010-12-01 08:26:00",
        ),
    ],
)
def test_a_file_that_is_no_day_is_a_clear_error(tmp_path, content, words):
    day = tmp_path / "day.csv"
    if content is not None:
        day.write_bytes(content)
    ended = replay(day, "--json")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_address_where_nobody_answers_is_a_clear_error(tmp_path):
    ended = replay(write(tmp_path / "day.csv", SMALL_DAY), "--url", "http://127.0.0.1:1", "--json")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "no answer from http://127.0.0.1:1" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_running_service_is_used_with_a_key_and_the_same_day_twice(tmp_path):
    day = write(tmp_path / "day.csv", SMALL_DAY)
    key = "an-admin-key-for-this-test"
    async with LocalService(settings={"FLASHSTOCK_ADMIN_KEY": key}) as service:
        refused = replay(day, "--url", service.url, "--json")
        assert refused.returncode == 2
        assert "unauthorized" in refused.stderr
        for _ in range(2):
            ended = replay(day, "--url", service.url, "--api-key", key, "--json")
            assert document_of(ended)["returned_units"] == 12


@pytest.mark.slow
@pytest.mark.parametrize("real_day", REAL_DAYS, ids=lambda path: path.stem)
def test_a_real_day_reconciles(real_day):
    document = document_of(replay(real_day, "--json"))
    assert document["carts_admitted"] > 0
    assert document["carts_refused"] > 0, "some must fail"
    assert document["returned_units"] > 0
    assert document["skipped"]["not_goods"] > 0
    assert "invalid_request" not in document["refused"], "no real cart is too large"
