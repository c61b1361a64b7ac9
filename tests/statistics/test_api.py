"""Statistics over HTTP."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from flashstock.api.documents_statistics import CampaignStatisticsDocument, StatisticsDocument
from flashstock.campaigns.tables import campaign_items, campaigns
from flashstock.ledger.engine import writing
from tests.contract.ledger.written_log import NOW_MS, POOL, confirmed, created, held
from tests.stock_api import caller

__all__ = ["caller"]


@pytest.fixture
async def sale(book, folder):
    await book.write(created(10), held(1, 2), confirmed(1))
    await folder.catch_up()


async def test_a_pool(caller, sale):
    found = await caller.get(f"/v1/statistics/{POOL}", StatisticsDocument)
    assert (found["by"], found["buckets"]) == ("total", [])
    assert (found["total"]["requested"], found["total"]["held"], found["total"]["paid"]) == (
        2,
        2,
        1,
    )
    assert found["stock"] == {
        "total": 10,
        "held": 1,
        "sold": 1,
        "locked": 0,
        "left": 8,
        "sell_through": 0.1,
    }
    by_minute = await caller.get(f"/v1/statistics/{POOL}", StatisticsDocument, by="minute")
    assert [bucket["held"] for bucket in by_minute["buckets"]] == [2]
    early = {"from": "2001-01-01T00:00:00Z", "to": "2002-01-01T00:00:00Z"}
    none = await caller.get(f"/v1/statistics/{POOL}", StatisticsDocument, **early)
    assert none["total"]["held"] == 0
    assert none["stock"]["sell_through"] is None


async def test_what_can_not_be_shown(caller, sale):
    response = await caller.send("GET", "/v1/statistics/nobody")
    await caller.refused(response, 404, "unknown_pool")
    response = await caller.send("GET", f"/v1/statistics/{POOL}?by=fortnight")
    await caller.refused(response, 422, "invalid_request")
    backwards = "from=2002-01-01T00:00:00Z&to=2001-01-01T00:00:00Z"
    response = await caller.send("GET", f"/v1/statistics/{POOL}?{backwards}")
    await caller.refused(response, 422, "invalid_request")
    response = await caller.send("GET", "/v1/statistics/campaigns/none")
    await caller.refused(response, 404, "unknown_campaign")


async def test_a_campaign_is_its_items_together(caller, sale, engine, book, folder):
    await book.write(created(5, pool="other"), held(3, pool="other"))
    await folder.catch_up()
    async with writing(engine) as connection:
        await connection.execute(insert(campaigns), [campaign("c-1")])
        rows = [item("c-1", 1, POOL), item("c-1", 2, "other"), item("c-1", 2, "other", 2)]
        await connection.execute(insert(campaign_items), rows)
    found = await caller.get("/v1/statistics/campaigns/c-1", CampaignStatisticsDocument)
    assert found["total"]["held"] == 3
    assert found["stock"]["total"] == 15
    assert [(row["item"], row["total"]["held"]) for row in found["items"]] == [(1, 2), (2, 1)]


def campaign(code):
    return {
        "code": code,
        "status": "live",
        "latest_revision": 1,
        "live_revision": 1,
        "starts_at_ms": NOW_MS,
        "ends_at_ms": NOW_MS + 1,
        "request_id": "",
        "request_digest": "",
        "created_by": "",
        "created_at_ms": 1,
        "updated_at_ms": 1,
    }


def item(code, number, pool, revision=1):
    return {
        "code": code,
        "revision": revision,
        "item": number,
        "pool": pool,
        "sku": "S",
        "title": "",
        "quantity": 1,
        "price_minor": 1,
        "currency": "EUR",
        "presale": False,
        "deposit_minor": 0,
        "waves": "",
        "gifts": "",
        "needs": "",
    }
