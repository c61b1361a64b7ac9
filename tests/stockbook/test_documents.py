"""Purchases, transfers, stocktakes and lots over HTTP, on both databases."""

from __future__ import annotations

from tests.stockbook.shelves import NOW_MS, Shelves
from tests.stockbook.shop import Shop


async def test_a_purchase_comes_in_parts(shop: Shop):
    lines = [{"sku": "cap", "quantity": 10}, {"sku": "mug", "quantity": 5}]
    body = {"location": "east", "lines": lines, "supplier": "Hatter"}
    made = await shop.post("/v1/purchases", body, key="buy")
    again = await shop.post("/v1/purchases", body, 200, key="buy")
    assert again == made
    path = f"/v1/purchases/{made['id']}"
    report = await shop.proved()
    assert (report["company"]["owned"], report["company"]["in_transit"]) == (15, 15)
    part = {"lines": [{"sku": "cap", "quantity": 3, "damaged": 1}]}
    got = await shop.post(f"{path}/receive", part, 200, key="part")
    assert await shop.post(f"{path}/receive", part, 200, key="part") == got
    assert await shop.units() == {
        "on_hand": 4,
        "available": 3,
        "unsellable": 1,
        "in_transit": 6,
    }
    much = {"lines": [{"sku": "cap", "quantity": 7}]}
    problem = await shop.refused("POST", f"{path}/receive", much, "insufficient_stock")
    assert problem["balance"] == 6
    nothing = {"lines": [{"sku": "cap"}]}
    await shop.refused("POST", f"{path}/receive", nothing, "invalid_request")
    rest = {"lines": [{"sku": "cap", "quantity": 4}]}
    await shop.post(f"{path}/receive", rest, 200)
    ended = await shop.post(f"{path}/cancel", {"reason": "bankrupt"}, 200, key="end")
    assert await shop.post(f"{path}/cancel", {"reason": "bankrupt"}, 200, key="end") == ended
    assert ended["state"] == "cancelled"
    assert [(x["received"], x["damaged"], x["cancelled"]) for x in ended["lines"]] == [
        (7, 1, 2),
        (0, 0, 5),
    ]
    report = await shop.proved()
    assert (report["company"]["owned"], report["company"]["in_transit"]) == (8, 0)
    await shop.refused("POST", f"{path}/receive", None, "document_closed")
    await shop.refused("GET", "/v1/purchases/9", None, "unknown_purchase")


async def test_a_purchase_may_come_all_at_once_and_covers_virtual_stock(shop: Shop):
    await shop.put("/v1/stock/cap/east/virtual", {"allowance": 4})
    body = {"location": "east", "lines": [{"sku": "cap", "quantity": 10}]}
    made = await shop.post("/v1/purchases", body)
    got = await shop.post(f"/v1/purchases/{made['id']}/receive", None, 200)
    assert (got["state"], got["lines"][0]["received"]) == ("received", 10)
    assert await shop.units() == {"on_hand": 10, "available": 10}
    page = await shop.get("/v1/purchases?state=received")
    assert page == {"items": [got], "next_after": None}
    assert (await shop.get("/v1/purchases?state=open"))["items"] == []
    twice = {**body, "lines": [{"sku": "cap", "quantity": 1}] * 2}
    await shop.refused("POST", "/v1/purchases", twice, "invalid_request")


async def test_a_document_never_takes_what_another_one_expects(shop: Shop):
    body = {"location": "west", "lines": [{"sku": "cap", "quantity": 5}]}
    bought = [await shop.post("/v1/purchases", body) for _ in range(2)]
    await shop.move("receive", 10)
    go = {**body, "source": "east", "destination": "west"}
    del go["location"]
    sent = [await shop.post("/v1/transfers", go) for _ in range(2)]
    six = {"lines": [{"sku": "cap", "quantity": 6}]}
    for path in (
        f"/v1/purchases/{bought[0]['id']}/receive",
        f"/v1/transfers/{sent[0]['id']}/dispatch",
    ):
        problem = await shop.refused("POST", path, six, "insufficient_stock")
        assert problem["balance"] == 5
    await shop.post(f"/v1/transfers/{sent[0]['id']}/dispatch", None, 200)
    path = f"/v1/transfers/{sent[0]['id']}/receive"
    problem = await shop.refused("POST", path, six, "insufficient_stock")
    assert problem["balance"] == 5
    assert (await shop.units(location="west"))["in_transit"] == 15


async def test_a_transfer_is_in_neither_stock_on_the_way(shop: Shop):
    await shop.move("receive", 10)
    body = {"source": "east", "destination": "west", "lines": [{"sku": "cap", "quantity": 8}]}
    made = await shop.post("/v1/transfers", body, key="go")
    assert await shop.post("/v1/transfers", body, 200, key="go") == made
    path = f"/v1/transfers/{made['id']}"
    assert await shop.units() == {"on_hand": 10, "available": 2, "outgoing": 8}
    await shop.refused("POST", f"{path}/receive", None, "invalid_request")
    part = {"lines": [{"sku": "cap", "quantity": 6}]}
    sent = await shop.post(f"{path}/dispatch", part, 200, key="sent")
    assert await shop.post(f"{path}/dispatch", part, 200, key="sent") == sent
    assert await shop.units() == {"on_hand": 4, "available": 2, "outgoing": 2}
    assert await shop.units(location="west") == {"in_transit": 6}
    report = await shop.proved()
    assert report["company"]["owned"] == 10
    await shop.refused("POST", f"{path}/dispatch", part, "insufficient_stock")
    kept = await shop.post(f"{path}/cancel", {"reason": "enough"}, 200)
    assert (kept["state"], kept["lines"][0]["cancelled"]) == ("open", 2)
    await shop.refused("POST", f"{path}/cancel", {}, "document_closed")
    came = {"lines": [{"sku": "cap", "quantity": 3, "damaged": 1, "lost": 1}]}
    await shop.post(f"{path}/receive", came, 200)
    done = await shop.post(f"{path}/receive", None, 200)
    assert done["state"] == "done"
    assert await shop.units(location="west") == {"on_hand": 5, "available": 4, "unsellable": 1}
    report = await shop.proved()
    assert (report["company"]["owned"], report["company"]["to_outside"]) == (9, 1)
    await shop.refused("POST", f"{path}/dispatch", None, "document_closed")
    await shop.refused("GET", "/v1/transfers/9", None, "unknown_transfer")
    assert (await shop.get("/v1/transfers?state=done"))["items"] == [done]


async def test_a_transfer_takes_what_is_available_only(shop: Shop):
    await shop.move("receive", 10)
    await shop.move("commit", 8)
    lines = [{"sku": "cap", "quantity": 3}]
    body = {"source": "east", "destination": "west", "lines": lines}
    await shop.refused("POST", "/v1/transfers", body, "insufficient_stock")
    here = {**body, "destination": "east"}
    await shop.refused("POST", "/v1/transfers", here, "invalid_request")
    lost = {**body, "destination": "south"}
    await shop.refused("POST", "/v1/transfers", lost, "unknown_location")
    body["lines"] = [{"sku": "cap", "quantity": 2}]
    made = await shop.post("/v1/transfers", body)
    gone = await shop.post(f"/v1/transfers/{made['id']}/cancel", None, 200)
    assert gone["state"] == "cancelled"
    assert (await shop.units())["available"] == 2


async def test_a_count_moves_nothing_before_somebody_else_approves(shop: Shop):
    await shop.move("receive", 10)
    await shop.move("receive", 10, sku="mug")
    await shop.move("commit", 6)
    counts = [{"sku": "cap", "counted": 8}, {"sku": "mug", "counted": 11}]
    body = {"location": "east", "counts": counts}
    made = await shop.post("/v1/stocktakes", body, key="count")
    assert await shop.post("/v1/stocktakes", body, 200, key="count") == made
    assert [(x["expected"], x["difference"]) for x in made["counts"]] == [(10, -2), (10, 1)]
    assert (await shop.units())["on_hand"] == 10
    path = f"/v1/stocktakes/{made['id']}"
    await shop.refused("POST", f"{path}/approve", None, "own_stocktake")
    await shop.move("commit", 1)
    done = await shop.post(f"{path}/approve", {"reason": "counted twice"}, 200, role="admin")
    assert (done["state"], done["decided_by"]) == ("approved", "admin")
    assert await shop.post(f"{path}/approve", None, 200, role="admin") == done
    assert await shop.units() == {"on_hand": 8, "available": 1, "committed": 7}
    assert await shop.units("mug") == {"on_hand": 11, "available": 11}
    await shop.refused("POST", f"{path}/reject", None, "document_closed")
    kinds = [row["kind"] for row in (await shop.get("/v1/stock/movements?limit=2"))["items"]]
    assert kinds == ["write_off", "receive"]


async def test_an_admin_may_approve_what_he_counted(shop: Shop):
    body = {"location": "east", "counts": [{"sku": "cap", "counted": 3}]}
    made = await shop.post("/v1/stocktakes", body, role="admin")
    done = await shop.post(f"/v1/stocktakes/{made['id']}/approve", None, 200, role="admin")
    assert done["state"] == "approved"
    assert await shop.units() == {"on_hand": 3, "available": 3}


async def test_a_count_is_outdated_once_goods_moved(shop: Shop):
    await shop.move("receive", 10)
    await shop.move("commit", 2)
    body = {"location": "east", "counts": [{"sku": "cap", "counted": 9}]}
    made = await shop.post("/v1/stocktakes", body)
    path = f"/v1/stocktakes/{made['id']}"
    await shop.move("ship", 1)
    await shop.move("receive", 1)
    problem = await shop.refused(
        "POST", f"{path}/approve", None, "stocktake_outdated", role="admin"
    )
    assert problem["skus"] == ["cap"]
    gone = await shop.post(f"{path}/reject", {"reason": "late"}, 200)
    assert await shop.post(f"{path}/reject", None, 200) == gone
    await shop.refused("POST", f"{path}/approve", None, "document_closed", role="admin")
    assert (await shop.get("/v1/stocktakes?state=rejected"))["items"] == [gone]
    assert (await shop.get(path))["reason"] == "late"
    await shop.refused("GET", "/v1/stocktakes/9", None, "unknown_stocktake")


async def test_a_loss_never_takes_what_buyers_have(shop: Shop):
    await shop.move("receive", 10)
    await shop.move("commit", 9)
    body = {"location": "east", "counts": [{"sku": "cap", "counted": 8}]}
    made = await shop.post("/v1/stocktakes", body)
    path = f"/v1/stocktakes/{made['id']}/approve"
    await shop.refused("POST", path, None, "insufficient_stock", role="admin")
    assert (await shop.get(f"/v1/stocktakes/{made['id']}"))["state"] == "counted"
    await shop.move("uncommit", 1)
    await shop.post(path, None, 200, role="admin")
    assert await shop.units() == {"on_hand": 8, "committed": 8}


async def test_a_lot_is_released_or_extended_when_its_time_is_over(shop: Shop, shelves: Shelves):
    await shop.move("receive", 10)
    await shop.move("commit", 4)
    body = {
        "sku": "cap",
        "location": "east",
        "quantity": 8,
        "guaranteed_until": "2026-11-25T00:00:00Z",
    }
    made = await shop.post("/v1/lots", body, key="lot")
    assert await shop.post("/v1/lots", body, 200, key="lot") == made
    path = f"/v1/lots/{made['id']}"
    assert (await shop.get("/v1/lots?expires_within_days=2"))["items"] == []
    assert (await shop.get("/v1/lots?expires_within_days=3"))["items"] == [made]
    problem = await shop.refused("POST", f"{path}/release", None, "lot_still_valid")
    assert problem["guaranteed_until"] == "2026-11-25T00:00:00.000Z"
    later = {"guaranteed_until": "2026-11-26T00:00:00Z"}
    await shop.post(f"{path}/extend", later, 200)
    again = await shop.send("POST", f"{path}/extend", later)
    assert again.headers["idempotency-replayed"] == "true"
    earlier = {"guaranteed_until": "2026-11-25T00:00:00Z"}
    await shop.refused("POST", f"{path}/extend", earlier, "lot_still_valid")
    shelves.now_ms = NOW_MS + 5 * 86_400_000
    assert (await shop.get(path))["over"] is True
    assert await shop.units() == {"on_hand": 10, "available": 6, "committed": 4}
    released = await shop.post(f"{path}/release", None, 200, key="release")
    assert (released["state"], released["released"]) == ("released", 6)
    assert await shop.post(f"{path}/release", None, 200, key="release") == released
    assert await shop.units() == {"on_hand": 10, "unsellable": 6, "committed": 4}
    await shop.refused("POST", f"{path}/release", None, "document_closed")
    await shop.refused("POST", f"{path}/extend", later, "document_closed")
    assert (await shop.get("/v1/lots?state=released"))["items"] == [released]
    await shop.refused("GET", "/v1/lots/9", None, "unknown_lot")


async def test_whoever_knows_how_much_of_a_lot_is_left_says_so(shop: Shop, shelves: Shelves):
    await shop.move("receive", 10)
    body = {
        "sku": "cap",
        "location": "east",
        "quantity": 8,
        "guaranteed_until": "2026-11-23T00:00:00Z",
    }
    made = await shop.post("/v1/lots", body)
    shelves.now_ms = NOW_MS + 2 * 86_400_000
    released = await shop.post(f"/v1/lots/{made['id']}/release", {"quantity": 3}, 200)
    assert released["released"] == 3
    assert (await shop.units())["unsellable"] == 3
