"""Refunds and receipts over HTTP: what is asked, what is shown, and who may."""

from __future__ import annotations

import json

import pytest

from flashstock.api.documents import RefundDocument, RefundPage
from flashstock.api.requests import decode_confirm
from flashstock.errors import InvalidRequest
from tests.unit.api.fakes import NOW_MS, refund
from tests.unit.api.routes import RESERVATION, assert_problem, send


async def settle(fakes, number, reference, role="ops"):
    async with fakes.client(role) as client:
        path = f"/v1/ops/refunds/{number}/settle"
        return await send(client, "POST", path, {"reference": reference})


async def test_refunds_are_listed_by_whether_they_are_settled(fakes):
    done = refund(2, settled_at_ms=NOW_MS, settled_by="ann", settled_reference="r")
    fakes.queries.refund_rows = [refund(1), done, refund(3)]
    seen = {}
    async with fakes.client("ops") as client:
        for query in ("", "?settled=false", "?settled=true", "?settled=false&after=1", "?limit=2"):
            page = (await client.get(f"/v1/ops/refunds{query}")).json()
            RefundPage.model_validate(page)
            seen[query] = ([item["id"] for item in page["items"]], page["next_after"])
        refused = await client.get("/v1/ops/refunds?settled=perhaps")
    assert seen == {
        "": ([1, 2, 3], None),
        "?settled=false": ([1, 3], None),
        "?settled=true": ([2], None),
        "?settled=false&after=1": ([3], None),
        "?limit=2": ([1, 2], 2),
    }
    assert_problem(refused, 422, "invalid_request")


async def test_settling_says_who_and_under_which_reference_and_can_be_repeated(fakes):
    first = await settle(fakes, 1, "transfer-1")
    assert first.status_code == 200
    assert "idempotency-replayed" not in first.headers
    document = first.json()
    RefundDocument.model_validate(document)
    assert (document["settled_by"], document["settled_reference"]) == ("ops", "transfer-1")
    assert document["settled_at"]
    again = await settle(fakes, 1, "transfer-1", role="admin")
    assert again.json() == document
    assert again.headers["idempotency-replayed"] == "true"


async def test_settling_twice_under_two_references_is_refused(fakes):
    await settle(fakes, 1, "transfer-1")
    problem = assert_problem(await settle(fakes, 1, "transfer-2"), 409, "refund_settled")
    assert problem["reference"] == "transfer-1"
    assert fakes.queries.refund_rows[0].settled_reference == "transfer-1"


@pytest.mark.parametrize("reference", ["", "r" * 129, "a\tb", None, 7])
async def test_a_reference_that_can_be_none_is_refused(fakes, reference):
    refused = await settle(fakes, 1, reference)
    assert_problem(refused, 422, "invalid_request")
    assert refused.json()["errors"][0]["field"] == "reference"
    assert fakes.queries.refund_rows == [refund(1)]


async def test_there_is_no_such_refund(fakes):
    assert_problem(await settle(fakes, 9, "transfer"), 404, "unknown_refund")
    assert_problem(await settle(fakes, "x", "transfer"), 422, "invalid_request")


async def test_a_receipt_is_passed_on(fakes):
    path = f"/v1/reservations/{RESERVATION}/confirm"
    async with fakes.client("storefront") as client:
        body = {"payment_ref": "p", "receipt": "k1.abc"}
        assert (await send(client, "POST", path, body)).status_code == 200
        assert (await send(client, "POST", path, {"payment_ref": "p"})).status_code == 200
    assert fakes.reservations.calls == [
        ("confirm", RESERVATION, "p", "k1.abc"),
        ("confirm", RESERVATION, "p"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"payment_ref":"a","receipt":"r","receipt":"r"}',
        b'{"payment_ref":"a","receipt":"r","receipt":null}',
        b'{"payment_ref":"a","receipt":null,"receipt":null}',
        b'{"payment_ref":"a","payment_ref":"a","receipt":"r"}',
        b'{"payment_ref":"a","payment_ref":"a","receipt":null}',
    ],
)
def test_a_name_that_stands_twice_beside_a_receipt_is_refused(body):
    with pytest.raises(InvalidRequest, match="twice"):
        decode_confirm(body)


@pytest.mark.parametrize("receipt", ["k1.abc", 'quotes " within', None, "r" * 1024])
def test_a_receipt_is_read_as_it_was_sent(receipt):
    decoded = decode_confirm(json.dumps({"payment_ref": "p", "receipt": receipt}).encode())
    assert decoded.receipt == receipt


@pytest.mark.parametrize("receipt", ["", "r" * 1025, "a\nb", "ä", 7, ["r"]])
def test_what_can_be_no_receipt_is_refused(receipt):
    with pytest.raises(InvalidRequest) as refusal:
        decode_confirm(json.dumps({"payment_ref": "p", "receipt": receipt}).encode())
    assert refusal.value.extra["errors"][0]["field"] == "receipt"
