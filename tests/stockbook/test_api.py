"""SKUs, movements and balances over HTTP, on both databases."""

from __future__ import annotations

from tests.stockbook.shop import Shop


async def test_skus_are_written_whole_and_listed_in_pages(shop: Shop):
    fields = {"spu": "hats", "title": "A hat", "price_minor": 1999, "currency": "EUR"}
    made = await shop.put("/v1/skus/hat", {**fields, "safety_stock": 5, "lead_time_days": 7}, 201)
    assert made["created_at"] == "2026-11-22T01:37:18.974Z"
    assert (await shop.put("/v1/skus/hat", fields))["safety_stock"] == 0
    assert await shop.get("/v1/skus/hat") == {**made, "safety_stock": 0, "lead_time_days": 0}
    first = await shop.get("/v1/skus?limit=2")
    assert [row["sku"] for row in first["items"]] == ["cap", "hat"]
    last = await shop.get("/v1/skus", params={"limit": 2, "after": first["next_after"]})
    assert [row["sku"] for row in last["items"]] == ["mug"]
    assert last["next_after"] is None
    assert [row["sku"] for row in (await shop.get("/v1/skus?spu=hats"))["items"]] == ["hat"]
    await shop.refused("GET", "/v1/skus/scarf", None, "unknown_sku")
    await shop.refused("PUT", "/v1/skus/movements", {}, "invalid_request")
    await shop.refused("PUT", "/v1/skus/hat", {"currency": "euro"}, "invalid_request")


async def test_locations_have_regions(shop: Shop):
    regions = [{"region": "DE", "level": 2}, {"region": "BE", "level": 1}]
    made = await shop.put("/v1/locations/north", {"kind": "store", "regions": regions}, 201)
    assert made["regions"] == regions[::-1]
    again = await shop.put("/v1/locations/north", {"priority": 1, "regions": regions[:1]})
    assert (again["regions"], again["kind"], again["priority"]) == (regions[:1], "warehouse", 1)
    page = await shop.get("/v1/locations?limit=2&after=east")
    assert [row["code"] for row in page["items"]] == ["north", "west"]
    assert await shop.get("/v1/locations/north") == again
    await shop.refused("GET", "/v1/locations/south", None, "unknown_location")
    twice = {"regions": regions[:1] * 2}
    await shop.refused("PUT", "/v1/locations/north", twice, "invalid_request")


async def test_a_movement_is_posted_once_and_listed(shop: Shop):
    line = {"sku": "cap", "location": "east", "quantity": 10}
    body = {"kind": "receive", "lines": [line], "reference": "PO-1"}
    first = await shop.send("POST", "/v1/stock/movements", body, key="once")
    again = await shop.send("POST", "/v1/stock/movements", body, key="once")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = {**body, "reference": "PO-2"}
    await shop.refused("POST", "/v1/stock/movements", other, "idempotency_mismatch", key="once")
    await shop.refused("POST", "/v1/stock/movements", body, "idempotency_key_required", key="")
    assert first.json()["lines"] == [{**line, "source": "supplier", "target": "available"}]
    await shop.move("lock", 3)
    await shop.move("receive", 4, sku="mug", location="west")
    newest = await shop.get("/v1/stock/movements?limit=2")
    assert [row["kind"] for row in newest["items"]] == ["receive", "lock"]
    rest = await shop.get(f"/v1/stock/movements?limit=2&after={newest['next_after']}")
    assert rest["items"] == [first.json()]
    for query, numbers in {
        "sku=cap&order=oldest": [1, 2],
        "sku=cap": [2, 1],
        "location=west": [3],
        "kind=receive": [3, 1],
        "kind=receive&sku=cap": [1],
        "reference=PO-1": [1],
        "reference=PO-1&sku=cap&location=east&kind=receive": [1],
        "reference=PO-1&location=west": [],
        "kind=ship": [],
        "order=oldest&after=1": [2, 3],
        "sku=cap&location=west": [],
    }.items():
        found = await shop.get(f"/v1/stock/movements?{query}")
        assert [row["number"] for row in found["items"]] == numbers, query
    assert await shop.get("/v1/stock/movements/1") == first.json()
    await shop.refused("GET", "/v1/stock/movements/9", None, "unknown_movement")


async def test_a_person_needs_a_reason_and_a_way_that_the_kind_knows(shop: Shop):
    await shop.move("receive", 10)
    line = {"sku": "cap", "location": "east", "quantity": 1}
    for kind in ("write_off", "sold_elsewhere", "lock"):
        body = {"kind": kind, "lines": [line]}
        problem = await shop.refused("POST", "/v1/stock/movements", body, "invalid_request")
        assert problem["errors"][0]["field"] == "reason"
    wrong = {"kind": "ship", "lines": [{**line, "source": "available"}]}
    problem = await shop.refused("POST", "/v1/stock/movements", wrong, "invalid_request")
    assert problem["errors"][0]["field"] == "lines[0]"
    for kind in ("allocate", "virtual", "expect"):
        body = {"kind": kind, "lines": [line]}
        await shop.refused("POST", "/v1/stock/movements", body, "invalid_request")
    short = {"kind": "lock", "lines": [{**line, "quantity": 11}], "reason": "too many"}
    problem = await shop.refused("POST", "/v1/stock/movements", short, "insufficient_stock")
    assert (problem["stock_state"], problem["balance"]) == ("available", 10)
    unknown = {"kind": "receive", "lines": [{**line, "sku": "scarf"}]}
    await shop.refused("POST", "/v1/stock/movements", unknown, "unknown_sku")


async def test_every_manual_way_between_the_states(shop: Shop):
    await shop.move("receive", 100)
    await shop.move("receive", 5, target="unsellable")
    await shop.move("inspect", 2)
    await shop.move("inspect", 3, source="unsellable")
    await shop.move("lock", 10)
    await shop.move("unlock", 4)
    await shop.move("reserve", 20)
    await shop.move("reserve", 10, target="bought_out")
    await shop.move("reserve", 5, source="reserved")
    await shop.move("commit", 8)
    await shop.move("commit", 2, source="reserved")
    await shop.move("uncommit", 1)
    await shop.move("ship", 6)
    await shop.move("ship", 1, source="unsellable")
    await shop.move("return", 2)
    await shop.move("return", 1, target="unsellable")
    await shop.move("write_off", 1)
    await shop.move("write_off", 2, source="unsellable")
    await shop.move("sold_elsewhere", 7)
    assert await shop.units() == {
        "on_hand": 91,
        "available": 57,
        "committed": 3,
        "unsellable": 2,
        "locked": 6,
        "reserved": 13,
        "bought_out": 10,
    }


async def test_a_movement_is_reversed_once(shop: Shop):
    made = await shop.move("receive", 10)
    path = f"/v1/stock/movements/{made['number']}/reverse"
    await shop.refused("POST", path, {}, "invalid_request")
    await shop.move("lock", 4)
    await shop.refused("POST", path, {"reason": "typo"}, "insufficient_stock")
    await shop.move("unlock", 4)
    back = await shop.post(path, {"reason": "typo"}, key="back")
    assert (back["reverses"], back["reason"]) == (made["number"], "typo")
    again = await shop.send("POST", path, {"reason": "typo"}, key="back")
    assert again.json() == back
    assert again.headers["idempotency-replayed"] == "true"
    problem = await shop.refused("POST", path, {"reason": "typo"}, "not_reversible")
    assert problem["reversed_by"] == back["number"]
    assert await shop.units() == {}
    found = await shop.get(f"/v1/stock/movements/{made['number']}")
    assert found["reversed_by"] == back["number"]
    of_back = f"/v1/stock/movements/{back['number']}/reverse"
    await shop.refused("POST", of_back, {"reason": "again"}, "not_reversible")
    await shop.refused(
        "POST", "/v1/stock/movements/99/reverse", {"reason": "x"}, "unknown_movement"
    )


async def test_an_order_draws_on_the_states_in_their_order(shop: Shop):
    await shop.move("receive", 30)
    await shop.move("reserve", 10)
    await shop.move("reserve", 10, target="bought_out")
    await shop.move("lock", 2)
    await shop.put("/v1/stock/cap/east/virtual", {"allowance": 3})
    line = {"sku": "cap", "location": "east", "quantity": 25}
    order = {"order": "o-1", "lines": [line]}
    drawn = await shop.post("/v1/stock/commitments", order, key="o-1")
    assert [(x["source"], x["quantity"]) for x in drawn["lines"]] == [
        ("available", 11),
        ("reserved", 10),
        ("bought_out", 4),
    ]
    replayed = await shop.post("/v1/stock/commitments", order, 200, key="o-1")
    assert replayed == drawn
    more = {"order": "o-2", "lines": [{**line, "quantity": 7}]}
    problem = await shop.refused("POST", "/v1/stock/commitments", more, "insufficient_stock")
    assert problem["balance"] == 6
    assert await shop.get("/v1/ops/stock/draw-order") == {
        "states": ["available", "reserved", "bought_out", "virtual"]
    }
    await shop.put("/v1/ops/stock/draw-order", {"states": ["reserved", "available"]})
    more["lines"] = [{**line, "quantity": 1}]
    await shop.refused("POST", "/v1/stock/commitments", more, "insufficient_stock")
    await shop.put("/v1/ops/stock/draw-order", {"states": ["bought_out"]})
    assert (await shop.post("/v1/stock/commitments", more))["lines"][0]["source"] == "bought_out"
    for states in (["locked"], ["unsellable"], [], ["available", "available"]):
        path, body = "/v1/ops/stock/draw-order", {"states": states}
        await shop.refused("PUT", path, body, "invalid_request")


async def test_what_arrives_covers_what_was_sold_ahead(shop: Shop):
    await shop.put("/v1/stock/cap/east/virtual", {"allowance": 10})
    assert await shop.units() == {"available": 10, "virtual": 10}
    await shop.move("commit", 7)
    body = {"allowance": 6}
    await shop.refused("PUT", "/v1/stock/cap/east/virtual", body, "insufficient_stock")
    withdrawn = await shop.put("/v1/stock/cap/east/virtual", {"allowance": 7})
    assert (withdrawn["virtual"], withdrawn["available"]) == (7, 0)
    await shop.refused(
        "POST",
        "/v1/stock/movements",
        {"kind": "ship", "lines": [{"sku": "cap", "location": "east", "quantity": 1}]},
        "insufficient_stock",
    )
    moved = await shop.move("receive", 9)
    assert [(x["target"], x["quantity"]) for x in moved["lines"]] == [
        ("virtual", 7),
        ("available", 2),
    ]
    assert await shop.units() == {"on_hand": 9, "available": 2, "committed": 7}
    await shop.put("/v1/stock/mug/east/virtual", {"allowance": 5})
    line = {"sku": "mug", "location": "east", "quantity": 4}
    twice = {"kind": "receive", "lines": [line, line]}
    moved = await shop.post("/v1/stock/movements", twice)
    assert [(x["target"], x["quantity"]) for x in moved["lines"]] == [
        ("virtual", 4),
        ("virtual", 1),
        ("available", 3),
    ]
    await shop.move("ship", 7)
    ratio = await shop.put("/v1/stock/cap/east/virtual", {"oversell_ratio": 1.75})
    assert (ratio["virtual"], ratio["virtual_allowance"], ratio["available"]) == (3, 3, 5)
    again = await shop.put("/v1/stock/cap/east/virtual", {"oversell_ratio": 1.75})
    assert again == ratio
    for wrong in ({}, {"allowance": 1, "oversell_ratio": 1.0}):
        await shop.refused("PUT", "/v1/stock/cap/east/virtual", wrong, "invalid_request")
    body = {"allowance": 1}
    await shop.refused("PUT", "/v1/stock/cap/south/virtual", body, "unknown_location")


async def test_an_order_draws_on_the_allowance_that_arrivals_have_covered(shop: Shop):
    await shop.put("/v1/stock/cap/east/virtual", {"allowance": 4})
    await shop.move("commit", 4)
    await shop.move("receive", 4)
    order = {"order": "o", "lines": [{"sku": "cap", "location": "east", "quantity": 4}]}
    drawn = await shop.post("/v1/stock/commitments", order)
    assert [(x["source"], x["quantity"]) for x in drawn["lines"]] == [("virtual", 4)]
    order = {"order": "p", "lines": [{"sku": "cap", "location": "east", "quantity": 1}]}
    await shop.refused("POST", "/v1/stock/commitments", order, "insufficient_stock")


async def test_balances_in_pages(shop: Shop):
    for sku, location in (("mug", "west"), ("cap", "west"), ("cap", "east")):
        await shop.move("receive", 2, sku=sku, location=location)
    first = await shop.get("/v1/stock?limit=2")
    assert [(row["sku"], row["location"]) for row in first["items"]] == [
        ("cap", "east"),
        ("cap", "west"),
    ]
    assert first["items"][0]["changed_by_movement"] == 3
    last = await shop.get("/v1/stock", params={"limit": 2, "after": first["next_after"]})
    assert [(row["sku"], row["location"]) for row in last["items"]] == [("mug", "west")]
    west = await shop.get("/v1/stock?location=west&limit=1")
    assert [row["sku"] for row in west["items"]] == ["cap"]
    rest = await shop.get("/v1/stock", params={"location": "west", "after": west["next_after"]})
    assert [row["sku"] for row in rest["items"]] == ["mug"]
    await shop.refused("GET", "/v1/stock?after=cap", None, "invalid_request")


async def test_stock_of_a_sku_in_the_whole_company(shop: Shop):
    await shop.put("/v1/skus/cap", {"safety_stock": 6})
    await shop.move("receive", 3)
    await shop.move("receive", 2, location="west")
    stock = await shop.get("/v1/stock/cap")
    assert stock["company"]["available"] == stock["company"]["owned"] == 5
    assert (stock["safety_stock"], stock["below_safety_stock"]) == (6, True)
    assert [row["location"] for row in stock["locations"]] == ["east", "west"]
    assert stock["pools"] == []
    seen = await shop.get("/v1/stock/cap/availability", role="storefront")
    assert seen == {"sku": "cap", "available": 5, "sellable": True}
    none = await shop.get("/v1/stock/mug/availability", role="storefront")
    assert none == {"sku": "mug", "available": 0, "sellable": False}
    await shop.refused("GET", "/v1/stock/scarf", None, "unknown_sku")
    await shop.refused("GET", "/v1/stock/scarf/availability", None, "unknown_sku")


async def test_roles(shop: Shop):
    document = shop.fakes.api.openapi()
    tags = {"catalogue", "stock", "purchases", "transfers", "stocktakes", "lots"}
    seen = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if not tags & set(operation["tags"]):
                continue
            seen += 1
            at = path.replace("{sku}", "cap").replace("{location}", "east")
            for name in ("number", "purchase", "transfer", "stocktake", "lot"):
                at = at.replace(f"{{{name}}}", "1")
            assert (await shop.send(method.upper(), at, role=None)).status_code == 401
            shown = await shop.send(method.upper(), at, role="storefront")
            expected = 200 if path.endswith("/availability") else 403
            assert shown.status_code == expected, (method, path)
            assert (await shop.send(method.upper(), at, {})).status_code not in {401, 403}
    assert seen == 36


async def test_everything_that_moves_stock_by_post_wants_a_key(shop: Shop):
    document = shop.fakes.api.openapi()
    without = {
        path
        for path, methods in document["paths"].items()
        if {"stock", "purchases", "transfers", "stocktakes", "lots"}
        & set(methods.get("post", {}).get("tags", ()))
        and not any(
            parameter["name"] == "Idempotency-Key" and parameter["required"]
            for parameter in methods["post"].get("parameters", ())
        )
    }
    assert without == {"/v1/stocktakes/{stocktake}/reject", "/v1/lots/{lot}/extend"}


async def test_the_gauge_says_whether_the_book_is_right(shop: Shop):
    await shop.get("/v1/ops/stock/identity")
    async with shop.fakes.client() as client:
        text = (await client.get("/metrics")).text
    assert 'flashstock_stock_identity_ok{invariant="identity"} 1.0' in text
    assert 'flashstock_stock_identity_ok{invariant="pools"} 1.0' in text
