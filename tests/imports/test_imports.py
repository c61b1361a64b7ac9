"""All of a file or nothing, once for each key, and every complaint in its line."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert, select, update

from flashstock.api.documents_imports import ImportDocument
from flashstock.campaigns.tables import campaign_items, campaign_revisions
from flashstock.channels.tables import publication_marks
from flashstock.imports import stock_rows
from flashstock.imports.tables import imports
from flashstock.ledger.engine import reading, writing
from flashstock.model.stock import MovementKind, Posting, StockCommand, StockState
from flashstock.stockbook.posting import post
from flashstock.stockbook.tables import locations, skus, stock_balances, stock_commands
from tests.databases import NOW_MS
from tests.stock_api import held_against


@pytest.fixture
def load(caller):
    """Import a file; the document, or the problem where a status is expected."""

    async def run(kind, text, status=200, key="key", *, dry_run=False, code="file_refused"):
        body = text if isinstance(text, bytes) else text.encode()
        path = f"/v1/imports/{kind}?dry_run={str(dry_run).lower()}"
        response = await caller.send("POST", path, body, role="ops", idempotency_key=key)
        if status == 200:
            assert response.status_code == 200, response.text
            return held_against(response, ImportDocument)
        return await caller.refused(response, status, code)

    return run


@pytest.fixture
async def places(engine):
    rows = [("east", "East Side"), ("west", "Twin"), ("far", "Twin")]
    common = {"kind": "warehouse", "priority": 1, "created_at_ms": 1, "updated_at_ms": 1}
    async with writing(engine) as connection:
        await connection.execute(
            insert(locations), [{"code": code, "name": name, **common} for code, name in rows]
        )


async def rows_of(engine, table, *columns):
    async with reading(engine) as connection:
        statement = select(*(columns or [table])).order_by(*table.primary_key.columns)
        return [tuple(row) for row in await connection.execute(statement)]


async def available(engine):
    columns = (stock_balances.c.sku, stock_balances.c.location, stock_balances.c.available)
    return await rows_of(engine, stock_balances, *columns)


SKUS = "sku,title,safety_stock\nA,hat,5\nB,cap,\n"


async def test_skus_are_made_changed_and_left_alone(load, engine):
    first = await load("skus", SKUS)
    assert (first["rows"], first["created"], first["changed"]) == (2, 2, 0)
    again = await load("skus", "sku,price_minor\nA,100\nB,0\nC,7\n", key="other")
    assert (again["created"], again["changed"], again["unchanged"]) == (1, 1, 1)
    columns = (skus.c.sku, skus.c.title, skus.c.price_minor, skus.c.safety_stock)
    assert await rows_of(engine, skus, *columns) == [
        ("A", "hat", 100, 5),
        ("B", "cap", 0, 0),
        ("C", "", 7, 0),
    ]


async def test_shops_are_told_of_another_safety_stock(load, engine):
    await load("skus", SKUS)
    assert await rows_of(engine, publication_marks, publication_marks.c.sku) == [("A",)]
    await load("skus", "sku,title\nB,mug\n", key="other")
    assert await rows_of(engine, publication_marks, publication_marks.c.sku) == [("A",)]


async def test_a_key_imports_once(load, caller, engine):
    first = await load("skus", SKUS)
    path = "/v1/imports/skus"
    again = await caller.send("POST", path, SKUS.encode(), role="ops", idempotency_key="key")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first
    await load("skus", "sku\nZ\n", 422, code="idempotency_mismatch")
    response = await caller.send("POST", path, SKUS.encode())
    await caller.refused(response, 400, "idempotency_key_required")
    assert len(await rows_of(engine, imports)) == 1


async def test_the_same_file_at_once_is_imported_once(caller, engine, places):
    common = {"created_at_ms": 1, "updated_at_ms": 1}
    async with writing(engine) as connection:
        await connection.execute(insert(skus), {"sku": "A", **common})
    body = b"sku,location,available\nA,east,5\n"
    sent = [caller.send("POST", "/v1/imports/stock", body, idempotency_key="key") for _ in range(4)]
    answers = await asyncio.gather(*sent)
    assert sorted(a.headers.get("idempotency-replayed", "") for a in answers) == [
        "",
        *["true"] * 3,
    ]
    assert len(await rows_of(engine, stock_commands)) == 1


async def test_a_dry_run_leaves_nothing_behind(load, engine):
    shown = await load("skus", SKUS, dry_run=True)
    assert shown["dry_run"] is True
    assert await rows_of(engine, skus) == []
    assert await rows_of(engine, imports) == []
    real = await load("skus", SKUS)
    assert {**real, "dry_run": True} == shown
    shown = await load("skus", SKUS, dry_run=True)
    assert shown["unchanged"] == 2, "a dry run is of now, not of the key"


@pytest.mark.parametrize("dry_run", [False, True])
async def test_one_bad_row_refuses_the_file(load, engine, dry_run):
    text = "sku,price_minor,currency\r\nA,1,EUR\r\nB,x,euro\r\nA,2,EUR\r\n,3,\r\nC/D,4,\r\n"
    problem = await load("skus", text, 422, dry_run=dry_run)
    found = [(error["line"], error["column"]) for error in problem["errors"]]
    assert found == [(3, "price_minor"), (3, "currency"), (4, "sku"), (5, "sku"), (6, "sku")]
    assert problem["errors_count"] == 5
    assert problem["detail"].startswith("line 3, price_minor: must be a whole number")
    assert await rows_of(engine, skus) == []


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        (b"sku\nA\xff\n", 2, None),
        (b"title\nA\n", 1, "sku"),
        (b"sku,colour\nA,red\n", 1, "colour"),
        (b"sku,title\nA\n", 2, None),
        (b"", 1, None),
    ],
)
async def test_files_that_can_not_be_read(load, text, line, column):
    problem = await load("skus", text, 422)
    assert (problem["errors"][0]["line"], problem["errors"][0]["column"]) == (line, column)


async def test_stock_becomes_movements_of_the_difference(load, engine, places):
    await load("skus", SKUS, key="skus")
    text = "\ufeffsku;location;available\r\nA;east;10\r\nA;west;3\r\nB;East Side;0\r\n"
    done = await load("stock", text)
    assert (done["changed"], done["unchanged"], done["units_in"]) == (2, 1, 13)
    assert await available(engine) == [("A", "east", 10), ("A", "west", 3)]
    done = await load("stock", "sku,location,available\nA,east,4\nA,west,5\n", key="next")
    assert (done["units_in"], done["units_out"]) == (2, 6)
    assert await available(engine) == [("A", "east", 4), ("A", "west", 5)]
    columns = (stock_commands.c.kind, stock_commands.c.reason, stock_commands.c.actor)
    assert await rows_of(engine, stock_commands, *columns) == [
        ("receive", "import", "ops"),
        ("receive", "import", "ops"),
        ("write_off", "import", "ops"),
    ]


async def test_a_stock_file_with_one_bad_row_moves_nothing(load, engine, places):
    await load("skus", SKUS, key="skus")
    text = "sku,location,available\nA,east,10\nX,east,1\nA,nowhere,1\nA,Twin,1\nB,east,-1\n"
    problem = await load("stock", text, 422)
    assert [error["line"] for error in problem["errors"]] == [6], "what needs no store comes first"
    problem = await load("stock", text.replace("-1", "1"), 422)
    found = [(error["line"], error["column"]) for error in problem["errors"]]
    assert found == [(3, "sku"), (4, "location"), (5, "location")], "two places are named Twin"
    both = "sku,location,available\nA,east,1\nA,East Side,2\n"
    problem = await load("stock", both, 422)
    assert problem["errors"][0]["line"] == 3
    assert await available(engine) == []


async def test_many_rows_are_several_movements(load, engine, places, monkeypatch):
    await load("skus", "sku\n" + "".join(f"S{n}\n" for n in range(25)), key="skus")
    monkeypatch.setattr(stock_rows, "POSTINGS_MAX", 10)
    monkeypatch.setattr(stock_rows, "_AT_ONCE", 4)
    rows = "".join(f"S{n},east,{n}\n" for n in range(25))
    done = await load("stock", f"sku,location,available\n{rows}")
    assert (done["changed"], done["unchanged"]) == (24, 1)
    assert len(await rows_of(engine, stock_commands)) == 3
    assert sum(units for _, _, units in await available(engine)) == sum(range(25))


SHOPIFY = """Handle,Title,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Option3 Name,\
Option3 Value,SKU,HS Code,COO,Location,Incoming,Unavailable,Committed,Available,On hand
hat,"Hat, felt",Color,Red,,,,,HAT-R,,,East Side,0,1,2,7,10
hat,"Hat, felt",Color,Red,,,,,HAT-R,,,west,0,0,0,not stocked,not stocked
mug,Mug,Title,Default Title,,,,,MUG,,,East Side,0,0,0,0,0
gift,Gift card,Title,Default Title,,,,,,,,East Side,0,0,0,5,5
"""


async def test_shopifys_inventory_file(load, engine, places):
    made = await load("skus", SHOPIFY, key="skus")
    assert (made["created"], made["skipped"]) == (2, 1)
    assert await rows_of(engine, skus, skus.c.sku, skus.c.spu, skus.c.title) == [
        ("HAT-R", "hat", "Hat, felt (Red)"),
        ("MUG", "mug", "Mug"),
    ]
    done = await load("stock", SHOPIFY)
    assert (done["rows"], done["changed"], done["unchanged"], done["skipped"]) == (4, 1, 1, 2)
    assert await available(engine) == [("HAT-R", "east", 7)]


async def test_shopifys_newer_file_sets_what_is_on_hand(load, engine, places):
    await load("skus", "sku\nA\nB\n", key="skus")
    await load("stock", "sku,location,available\nA,east,10\nB,east,10\n", key="stock")
    async with writing(engine) as connection:
        taken = Posting("A", "east", StockState.AVAILABLE, StockState.COMMITTED, 4)
        await post(connection, StockCommand("c", MovementKind.COMMIT, (taken,)), NOW_MS)
    head = "Handle,SKU,Location,Available (not editable),On hand (current),On hand (new)\n"
    done = await load("stock", f"{head}a,A,east,6,10,12\nb,B,east,10,10,\n")
    assert (done["changed"], done["skipped"], done["units_in"]) == (1, 1, 2)
    assert await available(engine) == [("A", "east", 8), ("B", "east", 10)]
    problem = await load("stock", f"{head}a,A,east,8,12,3\n", 422, key="short")
    assert "4 of them are taken" in problem["errors"][0]["problem"]


async def test_what_may_be_sold_ahead_is_not_written_off(load, engine, places):
    await load("skus", "sku\nA\n", key="skus")
    await load("stock", "sku,location,available\nA,east,10\n", key="stock")
    async with writing(engine) as connection:
        allowed = update(stock_balances).values(virtual_allowance=5)
        await connection.execute(allowed)
        ahead = Posting("A", "east", StockState.VIRTUAL, StockState.AVAILABLE, 5)
        await post(connection, StockCommand("v", MovementKind.VIRTUAL, (ahead,)), NOW_MS)
    problem = await load("stock", "sku,location,available\nA,east,4\n", 422, key="short")
    assert [(e["line"], e["column"]) for e in problem["errors"]] == [(2, "available")]
    assert await available(engine) == [("A", "east", 15)]
    await load("stock", "sku,location,available\nA,east,5\n", key="all")
    assert await available(engine) == [("A", "east", 5)]


CAMPAIGNS = """campaign,starts_at,ends_at,per_buyer_limit,hold_minutes,sku,quantity,price_minor,\
currency
Friday,2026-11-27T08:00:00Z,2026-11-28T08:00:00Z,2,10,A,50,999,EUR
Friday,2026-11-27T09:00:00+01:00,2026-11-28T08:00:00Z,2,10,B,5,,
Monday,2026-11-30T08:00:00Z,2026-12-01T08:00:00Z,,,A,7,,
"""


async def test_campaigns_become_drafts(load, engine):
    await load("skus", SKUS, key="skus")
    done = await load("campaigns", CAMPAIGNS)
    assert (done["rows"], done["created"], len(done["campaigns"])) == (3, 2, 2)
    columns = (
        campaign_revisions.c.code,
        campaign_revisions.c.state,
        campaign_revisions.c.name,
        campaign_revisions.c.hold_ms,
    )
    found = await rows_of(engine, campaign_revisions, *columns)
    first, second = done["campaigns"]
    assert sorted(found) == sorted(
        [(first, "draft", "Friday", 600_000), (second, "draft", "Monday", 900_000)]
    )
    item = campaign_items.c
    items = await rows_of(engine, campaign_items, item.code, item.item, item.sku, item.quantity)
    assert sorted(items) == sorted([(first, 1, "A", 50), (first, 2, "B", 5), (second, 1, "A", 7)])


async def test_one_bad_campaign_drafts_none(load, engine):
    await load("skus", "sku\nA\n", key="skus")
    problem = await load("campaigns", CAMPAIGNS, 422)
    assert [(error["line"], error["column"]) for error in problem["errors"]] == [(3, "sku")]
    backwards = CAMPAIGNS.replace("2026-12-01T08", "2026-11-01T08").replace(",B,5,", ",A,5,")
    problem = await load("campaigns", backwards, 422)
    assert [(error["line"], error["column"]) for error in problem["errors"]] == [(4, "ends_at")]
    other = CAMPAIGNS.replace("Z,2,10,B", "Z,3,10,A")
    problem = await load("campaigns", other, 422)
    assert problem["errors"][0]["problem"] == "line 2 says otherwise of this campaign"
    assert await rows_of(engine, campaign_revisions) == []


async def test_what_is_no_csv_is_told_so(caller):
    for content_type in ("application/json", "text/plain", "text/csv; charset=latin-1"):
        response = await caller.send(
            "POST",
            "/v1/imports/skus",
            b"sku\nA\n",
            idempotency_key="k",
            content_type=content_type,
        )
        await caller.refused(response, 415, "unsupported_media_type")
    response = await caller.send(
        "POST", "/v1/imports/skus", b"sku\nA\n", role="storefront", idempotency_key="k"
    )
    await caller.refused(response, 403, "forbidden")
    response = await caller.send("POST", "/v1/imports/hats", b"sku\nA\n", idempotency_key="k")
    await caller.refused(response, 422, "invalid_request")
    large = b"sku\n" + b"A" * (32 * 1024 * 1024)
    response = await caller.send("POST", "/v1/imports/skus", large, idempotency_key="k")
    await caller.refused(response, 413, "body_too_large")
