"""What the models take that only FastAPI's routes read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from flashstock.api import schemas
from flashstock.api.schemas_pools import AdjustRequest, PoolRequest
from flashstock.model import rules
from flashstock.model.states import DeductMode, Durability

MORNING = "2026-11-22T03:00:00.123Z"
MORNING_MS = 1_795_316_400_123
POOL: dict[str, Any] = {"id": "campaign-1", "sku": "sku-1", "quantity": 500}


def problems(model, body):
    """(field, problem) of everything the model finds wrong."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    found = [{**one, "loc": ("body", *one["loc"])} for one in caught.value.errors()]
    return [(p["field"], p["problem"]) for p in schemas.invalid_request(found).extra["errors"]]


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        (MORNING, MORNING_MS),
        ("2026-11-22t03:00:00.123z", MORNING_MS),
        ("2026-11-22T04:00:00.123+01:00", MORNING_MS),
        ("2026-11-21T22:00:00.123-05:00", MORNING_MS),
        ("2026-11-22T03:00:00.123999999Z", MORNING_MS),
        ("2026-11-22T03:00:00Z", MORNING_MS - 123),
        ("2026-11-22T03:00:00.1Z", MORNING_MS - 23),
        ("1970-01-01T00:00:00.001Z", 1),
        ("2286-11-20T17:46:39.999Z", rules.TIME_MS_MAX),
    ],
)
def test_times(text, time_ms):
    assert schemas.parse_time(text) == time_ms


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2026-11-22",
        "2026-11-22T03:00Z",
        "2026-11-22T03:00:00",
        "2026-11-22 03:00:00Z",
        "2026-11-22T03:00:00.Z",
        "2026-11-22T03:00:00+0100",
        "2026-11-22T03:00:00+25:00",
        "2026-02-30T03:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T03:00:60Z",
        "2026-W47-7T03:00:00Z",
        "\u0662026-11-22T03:00:00Z",
        f"{MORNING}\n",
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
        "2286-11-20T17:46:40Z",
        MORNING_MS,
        1.5,
        None,
        True,
        [],
    ],
)
def test_what_is_no_time(value):
    with pytest.raises(ValueError, match=r"must|time"):
        schemas.parse_time(value)


def test_a_pool_gets_the_defaults():
    asked = PoolRequest.model_validate(POOL)
    assert asked.pool_rules() == rules.PoolRules(sku="sku-1")
    assert asked.quantity == 500


def test_nulls_mean_the_defaults():
    names = ["per_buyer_limit", "hold_seconds", "starts_at", "ends_at", "durability", "waves"]
    names += ["audience", "channels", "deduct"]
    asked = PoolRequest.model_validate({**POOL, **dict.fromkeys(names)})
    assert asked.pool_rules() == rules.PoolRules(sku="sku-1")


def test_a_pool_with_everything():
    asked = PoolRequest.model_validate(
        {
            **POOL,
            "per_buyer_limit": 2,
            "hold_seconds": 60,
            "starts_at": MORNING,
            "ends_at": "2026-11-22T04:00:00Z",
            "durability": "fast",
            "waves": [
                {"at": "2026-11-22T03:30:00Z", "quantity": 200},
                {"at": "2026-11-22T03:15:00Z", "quantity": 300},
            ],
            "audience": "level:3",
            "channels": ["web", "app"],
            "deduct": "payment",
        }
    )
    assert asked.pool_rules() == rules.PoolRules(
        sku="sku-1",
        per_buyer_limit=2,
        hold_ms=60_000,
        starts_at_ms=MORNING_MS,
        ends_at_ms=MORNING_MS + 3_599_877,
        durability=Durability.FAST,
        waves=(
            rules.Wave(MORNING_MS + 899_877, 300),
            rules.Wave(MORNING_MS + 1_799_877, 200),
        ),
        audience="level:3",
        channels="web,app",
        deduct=DeductMode.PAYMENT,
    )


WAVE = {"at": MORNING, "quantity": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "a b"),
        ("id", "a" * 65),
        ("id", ""),
        ("id", "a:"),
        ("id", "a:b:c"),
        ("audience", "everyone"),
        ("audience", ""),
        ("audience", "level:0"),
        ("audience", 1),
        ("channels", "app"),
        ("channels", ["app", "app"]),
        ("channels", [f"c{number}" for number in range(33)]),
        ("deduct", "later"),
        ("sku", ""),
        ("sku", "a\tb"),
        ("sku", "s" * 129),
        ("quantity", -1),
        ("quantity", rules.POOL_QUANTITY_MAX + 1),
        ("quantity", 1.0),
        ("quantity", "1"),
        ("quantity", True),
        ("per_buyer_limit", 0),
        ("per_buyer_limit", 1.5),
        ("hold_seconds", 0),
        ("hold_seconds", rules.HOLD_SECONDS_MAX + 1),
        ("hold_seconds", "900"),
        ("starts_at", MORNING_MS),
        ("starts_at", "tomorrow"),
        ("ends_at", "2026-11-22T03:00:00"),
        ("durability", "Fast"),
        ("durability", "none"),
        ("durability", 1),
        ("waves", {}),
        ("waves", [WAVE] * (rules.WAVES_MAX + 1)),
        ("state", "open"),
        ("available", 1),
    ],
)
def test_a_bad_field_of_a_pool_is_named(field, value):
    assert [name for name, _ in problems(PoolRequest, {**POOL, field: value})] == [field]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"starts_at": MORNING, "ends_at": MORNING}, "ends_at must be later"),
        ({"starts_at": MORNING, "ends_at": "2026-11-22T03:00:00.122Z"}, "ends_at must be later"),
        ({"waves": [WAVE, WAVE]}, "same time"),
        ({"waves": [WAVE], "ends_at": MORNING}, "when the sale has ended"),
        ({"waves": [{"at": MORNING, "quantity": 501}]}, "more units than the pool has"),
    ],
)
def test_fields_of_a_pool_that_contradict_each_other(changes, words):
    [(field, problem)] = problems(PoolRequest, {**POOL, **changes})
    assert field == ""
    assert words in problem


@pytest.mark.parametrize(
    ("wave", "field"),
    [
        ({"at": MORNING}, "waves[0].quantity"),
        ({"quantity": 1}, "waves[0].at"),
        ({"at": MORNING, "quantity": 0}, "waves[0].quantity"),
        ({"at": 1, "quantity": 1}, "waves[0].at"),
        ({"at": MORNING, "quantity": 1, "x": 1}, "waves[0].x"),
        ("x", "waves[0]"),
    ],
)
def test_a_bad_wave_is_named(wave, field):
    assert [name for name, _ in problems(PoolRequest, {**POOL, "waves": [wave]})] == [field]


def test_an_adjustment_changes_something():
    assert AdjustRequest.model_validate({"delta": -3}).delta == -3
    assert AdjustRequest.model_validate({"lock_delta": 1}).delta == 0
    for body in ({}, {"delta": 0}, {"delta": 0, "lock_delta": 0}):
        assert problems(AdjustRequest, body)[0][1].startswith("delta or lock_delta")


@pytest.mark.parametrize("field", ["delta", "lock_delta"])
@pytest.mark.parametrize(
    "value", [10**9 + 1, -(10**9) - 1, 1.0, "1", True, None, 2**63, [1]], ids=repr
)
def test_a_bad_adjustment_is_named(field, value):
    assert [name for name, _ in problems(AdjustRequest, {field: value})] == [field]


def test_lines_of_one_pool_add_up_to_no_more_than_one_reservation_may():
    half = rules.QUANTITY_MAX // 2 + 1
    lines = [{"pool": "a", "quantity": half}, {"pool": "b", "quantity": half}]
    schemas.CartRequest.model_validate({"buyer": "b", "lines": lines})
    [(field, problem)] = problems(
        schemas.CartRequest, {"buyer": "b", "lines": [*lines, {"pool": "a", "quantity": half}]}
    )
    assert field == "lines"
    assert "'a' add up to" in problem


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lines": []}, "lines"),
        ({"lines": [{"pool": "a", "quantity": 1}] * (rules.CART_LINES_MAX + 1)}, "lines"),
        ({"lines": {"pool": "a", "quantity": 1}}, "lines"),
        ({"lines": [{"pool": "a"}]}, "lines[0].quantity"),
        ({"lines": [{"pool": "a", "quantity": 0}]}, "lines[0].quantity"),
        ({"lines": [{"pool": "a", "quantity": 1, "price": 2}]}, "lines[0].price"),
        ({"buyer": "a\x1fb"}, "buyer"),
        ({"note": "x"}, "note"),
    ],
)
def test_a_bad_cart_is_named(changes, field):
    cart = {"buyer": "b", "lines": [{"pool": "a", "quantity": 1}], **changes}
    assert [name for name, _ in problems(schemas.CartRequest, cart)] == [field]


@pytest.mark.parametrize("name", ["admin", "local", "", "a b", "-a", "a" * 65, "a\n", 1, None])
def test_some_names_are_no_names_of_keys(name):
    found = problems(schemas.KeyRequest, {"name": name, "role": "ops"})
    assert [field for field, _ in found] == ["name"]


@pytest.mark.parametrize("role", ["owner", "", "Ops", None, 1])
def test_a_key_has_one_of_the_roles(role):
    found = problems(schemas.KeyRequest, {"name": "shop", "role": role})
    assert [field for field, _ in found] == ["role"]


@pytest.mark.parametrize("value", ["true", 1, 0, None, "no"])
def test_a_dry_run_is_yes_or_no(value):
    assert problems(schemas.RepairRequest, {"dry_run": value})[0][0] == "dry_run"


def test_a_repair_is_dry_unless_told():
    assert schemas.RepairRequest.model_validate({}).dry_run is True
    assert schemas.RepairRequest.model_validate({"dry_run": False}).dry_run is False


@pytest.mark.parametrize("value", [0, -1, 1.0, "600", None, True, rules.HOLD_SECONDS_MAX + 1])
def test_an_extension_is_whole_seconds(value):
    assert problems(schemas.ExtendRequest, {"seconds": value})[0][0] == "seconds"


@pytest.mark.parametrize("value", [0, -1, 1.5, "1", True, rules.QUANTITY_MAX + 1])
def test_a_return_is_of_whole_units(value):
    assert problems(schemas.ReturnRequest, {"quantity": value})[0][0] == "quantity"
