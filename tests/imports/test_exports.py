"""Exports: everything, in pages, shielded from spreadsheets, and importable again."""

from __future__ import annotations

import csv
import io

import pytest
from sqlalchemy import insert, select

from flashstock.imports import exports as module
from flashstock.imports import shopify
from flashstock.ledger.engine import reading, writing
from flashstock.ledger.failures import LedgerUnavailable
from flashstock.ledger.tables import orders, reservations
from flashstock.stockbook.tables import locations, skus
from tests.databases import NOW_MS

COMMON = {"created_at_ms": NOW_MS, "updated_at_ms": NOW_MS}
TITLES = ["hat", "=1+1", "a;b", 'say "x"', "über\u2028", "'=x", "-5"]


@pytest.fixture
async def stocked(engine, caller):
    place = {"kind": "warehouse", "priority": 1, **COMMON}
    async with writing(engine) as connection:
        rows = [
            {"sku": f"S{n}", "title": title, "safety_stock": n, **COMMON}
            for n, title in enumerate(TITLES)
        ]
        await connection.execute(insert(skus), rows)
        await connection.execute(
            insert(locations),
            [
                {"code": "east", "name": "East Side", **place},
                {"code": "west", "name": "", **place},
            ],
        )
    lines = [f"S{n},{place},{n + 1}" for n in range(len(TITLES)) for place in ("east", "west")]
    body = "\n".join(["sku,location,available", *lines]).encode()
    response = await caller.send("POST", "/v1/imports/stock", body, idempotency_key="stocked")
    assert response.status_code == 200, response.text


@pytest.fixture
def export(caller):
    async def run(name, **query):
        path = f"/v1/exports/{name}.csv"
        async with caller.fakes.client("ops") as client:
            response = await client.get(path, params=query)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        assert response.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
        return response.content

    return run


def parsed(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


@pytest.fixture(params=[1, 3, 1_000])
def pages(request, monkeypatch):
    monkeypatch.setattr(module, "PAGE", request.param)


async def test_skus_come_out_whole_and_go_in_again(stocked, export, caller, engine, pages):
    content = await export("skus")
    rows = parsed(content)
    assert [row["sku"] for row in rows] == [f"S{n}" for n in range(len(TITLES))]
    assert rows[1]["title"] == "'=1+1"
    assert rows[6]["title"] == "'-5"
    async with reading(engine) as connection:
        before = (await connection.execute(select(skus).order_by(skus.c.sku))).all()
    response = await caller.send("POST", "/v1/imports/skus", content, idempotency_key="again")
    assert response.json()["unchanged"] == len(TITLES) - 1, "a line separator became a space"
    async with reading(engine) as connection:
        after = (await connection.execute(select(skus).order_by(skus.c.sku))).all()
    titles = [(row.sku, row.title.strip()) for row in before]
    assert [(row.sku, row.title.strip()) for row in after] == titles


async def test_stock_comes_out_whole_and_goes_in_again(stocked, export, caller, pages):
    content = await export("stock")
    rows = parsed(content)
    assert len(rows) == 2 * len(TITLES)
    assert {row["available"] for row in rows} == {str(n + 1) for n in range(len(TITLES))}
    response = await caller.send("POST", "/v1/imports/stock", content, idempotency_key="again")
    assert response.json()["unchanged"] == 2 * len(TITLES)


async def test_shopifys_layout_goes_out_and_in(stocked, export, caller):
    content = await export("stock", layout="shopify")
    rows = parsed(content)
    assert list(rows[0]) == list(shopify.COLUMNS)
    assert [row["Location"] for row in rows[:2]] == ["East Side", "west"]
    assert rows[2]["Available"] == rows[2]["On hand"] == "2"
    assert rows[2]["Unavailable"] == "0"
    response = await caller.send("POST", "/v1/imports/stock", content, idempotency_key="again")
    assert response.json()["unchanged"] == 2 * len(TITLES)


async def test_movements(stocked, export, pages):
    rows = parsed(await export("movements"))
    assert len(rows) == 2 * len(TITLES)
    assert {(row["kind"], row["source"], row["target"]) for row in rows} == {
        ("receive", "stocktake", "available")
    }
    assert rows[0]["at"].endswith("Z")


async def test_reservations_and_orders(engine, export, pages):
    row = {
        "shard": 0,
        "pool": "p",
        "quantity": 1,
        "cart": "",
        "state": "confirmed",
        "deadline_ms": NOW_MS,
        "generation": 1,
        "seq": 1,
        "order_index": 1,
        "returned": 0,
        **COMMON,
    }
    sold = {"pool": "p", "quantity": 1, "confirmed_at_ms": NOW_MS}
    async with writing(engine) as connection:
        for number in range(5):
            about = {"buyer": "=b", "payment_ref": f"pay-{number}", "order_no": str(number)}
            reservation = {**row, **about, "id": f"p~{number}"}
            await connection.execute(insert(reservations), reservation)
            order = {**sold, **about, "reservation_id": f"p~{number}"}
            await connection.execute(insert(orders), order)
    for name, column in (("reservations", "reservation"), ("orders", "reservation")):
        rows = parsed(await export(name))
        assert [row[column] for row in rows] == [f"p~{number}" for number in range(5)]
        assert {row["buyer"] for row in rows} == {"'=b"}


async def test_campaigns_go_out_and_in(stocked, export, caller, pages):
    text = (
        "campaign,starts_at,ends_at,sku,quantity\n"
        "Friday,2026-11-27T08:00:00Z,2026-11-28T08:00:00Z,S0,50\n"
        "Friday,2026-11-27T08:00:00Z,2026-11-28T08:00:00Z,S1,5\n"
    )
    path = "/v1/imports/campaigns"
    made = await caller.send("POST", path, text.encode(), idempotency_key="first")
    assert made.status_code == 200, made.text
    content = await export("campaigns")
    rows = parsed(content)
    assert [(row["campaign"], row["sku"], row["quantity"]) for row in rows] == [
        ("Friday", "S0", "50"),
        ("Friday", "S1", "5"),
    ]
    assert rows[0]["starts_at"] == "2026-11-27T08:00:00.000Z"
    again = await caller.send("POST", path, content, idempotency_key="second")
    assert again.json()["created"] == 1


async def test_empty_exports_have_their_columns(export):
    for name in module.ExportKind:
        content = await export(name.value)
        assert len(content.decode().splitlines()) == 1, name


async def test_a_store_that_is_away_is_no_half_file(caller, monkeypatch):
    def away(*_):
        raise LedgerUnavailable("the database is away")

    monkeypatch.setattr(module, "reading", away)
    response = await caller.send("GET", "/v1/exports/skus.csv")
    await caller.refused(response, 503, "unavailable")
    response = await caller.send("GET", "/v1/exports/hats.csv")
    await caller.refused(response, 422, "invalid_request")
