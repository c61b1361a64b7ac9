"""The document says what is served, in full, and the lean routes are in it."""

from __future__ import annotations

from typing import Any

import pytest

from flashstock import errors
from flashstock.api.openapi import answers
from flashstock.model.rules import BATCH_ITEMS_MAX, BUYER_LENGTH_MAX, QUANTITY_MAX

LEAN = {
    "/v1/reservations": {"200", "201", "400", "401", "403", "404", "409", "413", "415", "422"},
    "/v1/reservations/batch": {"200", "401", "403", "413", "415", "422"},
    "/v1/reservations/{reservation_id}/confirm": {"200", "404", "409", "413", "415", "422"},
    "/v1/reservations/{reservation_id}/cancel": {"200", "404", "409", "413", "415", "422"},
    "/v1/groups": {"200", "201", "400", "401", "403", "404", "409", "413", "415", "422"},
    "/v1/groups/{group_id}/join": {"200", "201", "400", "404", "409", "413", "415", "422"},
}
OPEN = {"/healthz", "/readyz", "/metrics", "/version"}


@pytest.fixture
async def document(fakes):
    async with fakes.client(None) as client:
        return (await client.get("/openapi.json")).json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def resolve(document, node: Any) -> Any:
    while "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


async def test_every_reference_leads_somewhere(document):
    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                assert resolve(document, node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)


@pytest.mark.parametrize(("path", "statuses"), LEAN.items())
async def test_a_lean_route_is_described_in_full(document, path, statuses):
    operation = document["paths"][path]["post"]
    assert statuses <= set(operation["responses"])
    assert operation["summary"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert resolve(document, schema.get("anyOf", [schema])[0])["additionalProperties"] is False


async def test_the_bounds_of_a_reservation_stand_in_its_schema(document):
    schema = document["components"]["schemas"]["ReservationRequest"]
    assert set(schema["required"]) == {"pool", "buyer", "quantity"}
    assert schema["properties"]["quantity"]["maximum"] == QUANTITY_MAX
    assert schema["properties"]["buyer"]["maxLength"] == BUYER_LENGTH_MAX
    assert schema["properties"]["pool"]["examples"]
    batch = document["components"]["schemas"]["BatchRequest"]["properties"]["items"]
    assert batch["maxItems"] == BATCH_ITEMS_MAX


async def test_every_problem_is_a_problem(document):
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")):
                media = list(response["content"])
                assert media == ["application/problem+json"], (path, method, status)
                [content] = response["content"].values()
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
                for code, example in content["examples"].items():
                    value = resolve(document, example)["value"]
                    assert value["code"] == code
                    assert value["status"] == int(status)


async def test_every_code_is_in_the_document(document):
    codes = {kind.code for kind in answers(errors.FlashstockError)}
    assert codes == set(document["components"]["examples"])
    kinds = set(answers(errors.FlashstockError))
    assert errors.SoldOut in kinds
    assert errors.ConfigurationError not in kinds


async def test_every_operation_can_fail_in_the_ways_all_can(document):
    for path, method, operation in operations(document):
        expected = {"405", "500"} | (set() if path in OPEN else {"401", "403", "503"})
        assert expected <= set(operation["responses"]), (path, method)
        assert ("security" in operation) == (path not in OPEN), (path, method)
        assert operation["tags"], (path, method)
        if "503" in operation["responses"]:
            assert "Retry-After" in operation["responses"]["503"]["headers"]


async def test_operations_have_names_of_their_own(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


async def test_what_moves_stock_documents_its_key(document):
    wanting = {
        path
        for path, _, operation in operations(document)
        for parameter in operation.get("parameters", ())
        if parameter["name"] == "Idempotency-Key" and parameter["required"]
    }
    assert wanting == {
        "/v1/reservations",
        "/v1/carts",
        "/v1/groups",
        "/v1/groups/{group_id}/join",
        "/v1/pools/{pool}/adjust",
        "/v1/reservations/{reservation_id}/return",
    }


async def test_nothing_of_the_framework_shines_through(document):
    text = str(document)
    assert "HTTPValidationError" not in text
    assert "Successful Response" not in text
