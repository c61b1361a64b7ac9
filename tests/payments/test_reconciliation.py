"""Statements against the ledger: every planted disagreement is found once, and nothing else."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select

from flashstock.api.documents_imports import (
    PaymentCaseDocument,
    PaymentCasePage,
    StatementDocument,
)
from flashstock.campaigns.tables import campaign_balances, campaign_items, campaign_revisions
from flashstock.ledger.engine import reading, writing
from flashstock.ledger.tables import orders, refunds, reservations
from flashstock.payments import known as module
from flashstock.payments.reconciliation import span_of
from flashstock.payments.tables import payment_lines
from tests.statistics.test_api import item
from tests.stock_api import held_against

DAY = "2026-11-22"
START_MS, END_MS = span_of(DAY)
NOON_MS = (START_MS + END_MS) // 2
HEAD = "payment_ref,amount_minor,currency,kind,at,status\n"


class Shop:
    """What is on record here."""

    def __init__(self, engine):
        self.engine = engine

    async def write(self, table, **row):
        async with writing(self.engine) as connection:
            await connection.execute(insert(table), row)

    async def sale(self, ref, pool="plain", at_ms=NOON_MS, quantity=1, returned=0):
        number = f"o-{ref}"
        reservation = {
            "id": f"{pool}~{ref}",
            "shard": 0,
            "pool": pool,
            "buyer": "b",
            "quantity": quantity,
            "cart": "",
            "state": "confirmed",
            "deadline_ms": at_ms,
            "created_at_ms": at_ms,
            "updated_at_ms": at_ms,
            "generation": 1,
            "seq": 1,
            "payment_ref": ref,
            "order_index": 1,
            "order_no": number,
            "returned": returned,
        }
        if returned == quantity:
            reservation["state"] = "returned"
        await self.write(reservations, **reservation)
        order = {
            name: reservation[name]
            for name in ("order_no", "pool", "buyer", "quantity", "payment_ref")
        }
        await self.write(orders, **order, reservation_id=reservation["id"], confirmed_at_ms=at_ms)

    async def refund(self, ref, settled_at_ms=None, reference=None, pool="plain"):
        await self.write(
            refunds,
            shard=0,
            reservation_id=f"{pool}~{ref}",
            pool=pool,
            buyer="b",
            quantity=1,
            payment_ref=ref,
            recorded_at_ms=NOON_MS,
            settled_at_ms=settled_at_ms,
            settled_reference=reference,
        )

    async def campaign(self, pool, price_minor, from_ms=1, revision=1, **changes):
        """A revision in force since ``from_ms``, of which one item sells from the pool."""
        row = {
            "code": f"c-{pool}",
            "revision": revision,
            "state": "replaced" if revision == 1 else "in_force",
            "name": "",
            "starts_at_ms": 1,
            "ends_at_ms": 2,
            "channels": "",
            "per_buyer_limit": 0,
            "limit_across_items": False,
            "audience": "",
            "deduct": "hold",
            "hold_ms": 1,
            "places": "",
            "created_by": "",
            "created_at_ms": 1,
            "in_force_from_ms": from_ms,
        }
        await self.write(campaign_revisions, **row)
        sold = {**item(row["code"], 1, pool, revision), "price_minor": price_minor, **changes}
        await self.write(campaign_items, **sold)


@pytest.fixture
def shop(engine):
    return Shop(engine)


@pytest.fixture
def take(caller):
    """Send a statement; its document, or the problem where a status is expected."""

    async def run(*rows, gateway="g", day=DAY, status=200, replayed=False, **query):
        text = HEAD + "".join(f"{row}\n" for row in rows)
        asked = "&".join(f"{k}={v}" for k, v in {"gateway": gateway, "day": day, **query}.items())
        path = f"/v1/payments/statements?{asked}"
        response = await caller.send("POST", path, text.encode(), role="ops")
        if status != 200:
            return await caller.refused(response, status, "file_refused")
        assert response.status_code == 200, response.text
        assert ("idempotency-replayed" in response.headers) is replayed
        return held_against(response, StatementDocument)

    return run


@pytest.fixture
def cases(caller):
    """(kind, code, payment reference) of the open cases, in order; or of those of a state."""

    async def run(state="open", **query):
        page = await caller.get("/v1/payments/cases", PaymentCasePage, state=state, **query)
        for each in page["items"]:
            PaymentCaseDocument.model_validate(each)
        return sorted((row["kind"], row["code"], row["payment_ref"]) for row in page["items"])

    return run


def paid(ref, amount=1999, kind="payment", status="succeeded", currency="EUR"):
    return f"{ref},{amount},{currency},{kind},{DAY}T12:00:00Z,{status}"


def back(ref, amount=1999):
    return paid(ref, amount, kind="refund")


async def test_every_planted_disagreement_is_found_and_nothing_else(shop, take, cases, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr("flashstock.payments.reconciliation.PAGE", 2)
    await shop.campaign("sale", 1999)
    for ref in ("good", "twice", "cheap", "missing-1", "missing-2", "missing-3", "kept"):
        await shop.sale(ref, "sale")
    await shop.sale("unpriced")
    await shop.sale("two", "sale", quantity=2)
    await shop.sale("back", "sale", returned=1)
    await shop.sale("half", "sale", quantity=2, returned=1)
    await shop.sale("other-day", "sale", at_ms=END_MS)
    await shop.sale("day-before", "sale", at_ms=START_MS - 1)
    await shop.refund("late")
    await shop.refund("due")
    await shop.refund("settled", NOON_MS, "transfer-1")
    await shop.refund("by-ref", NOON_MS, "transfer-2")
    await shop.refund("never", NOON_MS, "transfer-3")
    await shop.refund("priced", NOON_MS, "transfer-4", pool="sale")
    await shop.refund("double", NOON_MS, "transfer-5", pool="sale")
    lines = [
        paid("good"),
        paid("twice"),
        paid("twice"),
        paid("cheap", 1),
        paid("unpriced", 5),
        paid("two", 3998),
        paid("stranger"),
        paid("late", 7),
        paid("failed", status="failed"),
        *(paid(ref) for ref in ("back", "kept")),
        paid("half", 3998),
        back("settled"),
        back("transfer-2"),
        back("due"),
        back("back"),
        back("half"),
        back("kept"),
        back("ghost"),
        back("priced", 5),
        back("double"),
        back("double"),
    ]
    found = await take(*lines)
    assert await cases() == [
        ("payment", "amount_differs", "cheap"),
        ("payment", "here_not_there", "missing-1"),
        ("payment", "here_not_there", "missing-2"),
        ("payment", "here_not_there", "missing-3"),
        ("payment", "there_not_here", "stranger"),
        ("payment", "twice", "twice"),
        ("refund", "amount_differs", "priced"),
        ("refund", "here_not_there", "never"),
        ("refund", "there_not_here", "due"),
        ("refund", "there_not_here", "ghost"),
        ("refund", "there_not_here", "kept"),
        ("refund", "twice", "double"),
    ]
    assert found["cases"] == {
        "payment.there_not_here": 1,
        "payment.here_not_there": 3,
        "payment.amount_differs": 1,
        "payment.twice": 1,
        "refund.there_not_here": 3,
        "refund.here_not_there": 1,
        "refund.amount_differs": 1,
        "refund.twice": 1,
    }
    assert (found["payments"], found["refunds"], found["skipped"]) == (11, 10, 1)
    assert found["cases_opened"] == 12
    assert (found["amounts_compared"], found["amounts_unknown"]) == (7 + 5, 2 + 3)


async def test_a_case_says_what_to_do(shop, take, caller):
    await shop.campaign("sale", 1999)
    await shop.sale("cheap", "sale")
    await shop.refund("due")
    await take(paid("cheap", 1), back("due"))
    page = await caller.get("/v1/payments/cases", PaymentCasePage)
    cheap, due = sorted(page["items"], key=lambda row: row["payment_ref"])
    assert cheap["here"] == {"amount_minor": 1999, "currency": "EUR"}
    assert cheap["there"] == {"amount_minor": 1, "currency": "EUR"}
    assert (cheap["order_no"], cheap["reservation"], cheap["line"]) == ("o-cheap", "sale~cheap", 2)
    assert cheap["remedy"]["code"] == "settle_difference"
    assert due["remedy"]["call"] == f"POST /v1/ops/refunds/{due['refund']}/settle"
    assert due["here"] is None, "no campaign sold it: nobody knows its price"


async def test_the_same_file_does_nothing_again(take, cases, engine):
    first = await take(paid("stranger"))
    again = await take(paid("stranger"), replayed=True)
    assert again == first
    async with reading(engine) as connection:
        assert len((await connection.execute(select(payment_lines))).all()) == 1
    assert await cases() == [("payment", "there_not_here", "stranger")]


async def test_another_file_of_the_day_takes_its_place(shop, take, cases):
    await shop.sale("ours")
    first = await take(paid("wrong"))
    assert first["cases_opened"] == 2
    second = await take(paid("ours"))
    assert (second["cases_opened"], second["cases_closed"]) == (0, 2)
    assert await cases() == []
    third = await take(paid("wrong"), paid("ours"))
    assert third["cases_opened"] == 1, "only a statement had closed it"
    assert await cases() == [("payment", "there_not_here", "wrong")]


async def test_what_a_replaced_file_said_does_not_count(shop, take, cases):
    await shop.sale("ours")
    await take(paid("ours"))
    assert await cases() == []
    await take(paid("stranger"))
    assert ("payment", "here_not_there", "ours") in await cases()


async def test_what_a_later_statement_brings_is_explained(shop, take, cases, caller):
    await shop.sale("late")
    await take()
    assert await cases() == [("payment", "here_not_there", "late")]
    other = await take(paid("late"), gateway="h", day="2026-11-23")
    assert other["cases_closed"] == 1
    assert await cases() == []
    page = await caller.get("/v1/payments/cases", PaymentCasePage, state="resolved")
    assert page["items"][0]["resolved_by"] == f"statement {other['id']}"


async def test_paid_on_two_days_is_paid_twice(shop, take, cases):
    await shop.sale("ours")
    await take(paid("ours"))
    await take(paid("ours"), day="2026-11-23")
    assert await cases() == [("payment", "twice", "ours")]


async def test_each_gateway_has_its_own_payments(shop, take, cases):
    await shop.sale("a-1")
    await shop.sale("b-1")
    await shop.sale("a_1")
    await take(paid("a-1"), gateway="a", ref_prefix="a-")
    assert await cases() == []
    await take(gateway="b", ref_prefix="b-")
    assert await cases() == [("payment", "here_not_there", "b-1")]
    await take(gateway="c", ref_prefix="a_")
    assert ("payment", "here_not_there", "a_1") in await cases(gateway="c")


async def test_the_price_is_that_of_the_revision_in_force_at_the_time(shop, take, cases):
    await shop.campaign("sale", 1000)
    await shop.campaign("sale", 2000, from_ms=NOON_MS, revision=2)
    await shop.sale("early", "sale", at_ms=NOON_MS - 1)
    await shop.sale("late", "sale", at_ms=NOON_MS)
    await take(paid("early", 1000), paid("late", 2000))
    assert await cases() == []
    await take(paid("early", 2000), paid("late", 1000))
    assert await cases() == [
        ("payment", "amount_differs", "early"),
        ("payment", "amount_differs", "late"),
    ]


async def test_a_presale_is_paid_in_two_parts(shop, take, cases):
    await shop.campaign("soon", 9000, presale=True, deposit_minor=500)
    await shop.sale("deposit", "soon")
    await shop.write(
        campaign_balances,
        order_no="o-deposit",
        payment_ref="balance",
        amount_minor=8500,
        currency="EUR",
        recorded_by="",
        paid_at_ms=NOON_MS,
    )
    await take(paid("deposit", 500), paid("balance", 8500))
    assert await cases() == []
    await take(paid("deposit", 9000), paid("balance", 1))
    assert await cases() == [
        ("payment", "amount_differs", "balance"),
        ("payment", "amount_differs", "deposit"),
    ]


async def test_cases_are_resolved_once_by_a_person(take, cases, caller):
    await take(paid("one"), paid("two"))
    page = await caller.get("/v1/payments/cases", PaymentCasePage, payment_ref="one", limit=1)
    [case] = page["items"]
    assert page["next_after"] == case["id"]
    path = f"/v1/payments/cases/{case['id']}/resolve"
    done = await caller.send("POST", path, {"note": "paid back"}, role="ops")
    document = held_against(done, PaymentCaseDocument)
    assert (document["state"], document["resolved_by"], document["note"]) == (
        "resolved",
        "ops",
        "paid back",
    )
    again = await caller.send("POST", path, {"note": "paid back"})
    assert again.headers["idempotency-replayed"] == "true"
    other = await caller.send("POST", path, {"note": "something else"})
    problem = await caller.refused(other, 409, "case_resolved")
    assert problem["note"] == "paid back"
    missing = await caller.send("POST", "/v1/payments/cases/99/resolve", {"note": "x"})
    await caller.refused(missing, 404, "unknown_payment_case")
    assert await cases() == [("payment", "there_not_here", "two")]
    assert await cases("resolved") == [("payment", "there_not_here", "one")]
    assert len(await cases("all")) == 2
    assert await cases(kind="refund") == []
    assert await cases(code="twice") == []
    await take(paid("one"), paid("two"), paid("three"))
    assert ("payment", "there_not_here", "one") not in await cases(), "a person decided"


async def test_bad_statements_are_refused_by_line(take, cases, caller):
    problem = await take(
        "one,x,EUR,payment,2026-11-22T12:00:00Z,succeeded",
        "two,1,euro,payment,2026-11-22T12:00:00Z,succeeded",
        "three,1,EUR,gift,2026-11-22T12:00:00Z,succeeded",
        "four,1,EUR,payment,yesterday,succeeded",
        "five,1,EUR,payment,2026-11-22T12:00:00Z,perhaps",
        ",1,EUR,payment,2026-11-22T12:00:00Z,succeeded",
        status=422,
    )
    assert [(error["line"], error["column"]) for error in problem["errors"]] == [
        (2, "amount_minor"),
        (3, "currency"),
        (4, "kind"),
        (5, "at"),
        (6, "status"),
        (7, "payment_ref"),
    ]
    assert await cases("all") == []
    for query in ("gateway=g&day=2026-02-30", "gateway=&day=2026-11-22", "day=2026-11-22"):
        response = await caller.send("POST", f"/v1/payments/statements?{query}", HEAD.encode())
        await caller.refused(response, 422, "invalid_request")


async def test_a_statement_of_nothing_is_a_statement(shop, take, cases):
    found = await take()
    assert (found["payments"], found["refunds"], found["cases_opened"]) == (0, 0, 0)
    assert await cases() == []
