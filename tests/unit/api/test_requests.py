"""The lean readers and the models accept the same texts, refuse the same, and say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flashstock.api import schemas
from flashstock.api.requests import (
    decode_batch,
    decode_cancel,
    decode_confirm,
    decode_reserve,
    idempotency_key,
    require_json,
)
from flashstock.api.strict_json import parse_json
from flashstock.errors import IdempotencyKeyRequired, InvalidRequest, UnsupportedMediaType
from flashstock.model.rules import BATCH_ITEMS_MAX, QUANTITY_MAX

READERS: dict[str, tuple[Any, type[schemas.Body]]] = {
    "reserve": (decode_reserve, schemas.ReservationRequest),
    "batch": (decode_batch, schemas.BatchRequest),
    "confirm": (decode_confirm, schemas.ConfirmRequest),
}


def lean(kind: str, body: bytes) -> Any:
    """What the lean reader makes of a body: plain values, or its complaint."""
    import msgspec

    try:
        found = msgspec.to_builtins(READERS[kind][0](body))
    except InvalidRequest as refusal:
        return refusal
    for item in found.get("items", [found]):
        if (
            item.get("attests") is not None
        ):  # members that were not sent are told apart, and mean the default
            item["attests"] = {**NOTHING_ATTESTED, **item["attests"]}
    return found


def modelled(kind: str, body: bytes) -> Any:
    """What the model makes of it, by the path a FastAPI route takes."""
    try:
        return READERS[kind][1].model_validate(parse_json(body)).model_dump()
    except InvalidRequest as refusal:
        return refusal
    except ValidationError as problem:
        found = problem.errors(include_url=False)
        return schemas.invalid_request([{**one, "loc": ("body", *one["loc"])} for one in found])


def agree(kind: str, body: bytes) -> Any:
    """Both answers, which must be one."""
    left, right = lean(kind, body), modelled(kind, body)
    if isinstance(right, InvalidRequest):
        assert isinstance(left, InvalidRequest), f"only the model refuses: {right}"
        assert (left.detail, left.extra) == (right.detail, right.extra)
    else:
        assert left == right
    return right


def reservation(**changes: Any) -> dict[str, Any]:
    body = {"pool": "campaign-1", "buyer": "buyer-42", "quantity": 1, **changes}
    return {name: value for name, value in body.items() if value is not ...}


NOTHING_ATTESTED = {"new_buyer": False, "named": False, "level": 0, "channel": None}
GOOD_RESERVATIONS: list[dict[str, Any]] = [
    reservation(),
    reservation(pool="A"),
    reservation(pool="a" * 64),
    reservation(pool="a.b_c-d"),
    reservation(pool="a" * 64 + ":" + "b" * 64),
    reservation(buyer="x"),
    reservation(buyer="b" * 128),
    reservation(buyer="\U0001f600" * 128),
    reservation(buyer='O"Neill, "Pat"'),
    reservation(buyer="a\\b/c"),
    reservation(buyer=" "),
    reservation(buyer="größer"),
    reservation(quantity=QUANTITY_MAX),
]
BAD_RESERVATIONS: list[tuple[str, Any]] = [
    ("pool", ...),
    ("pool", None),
    ("pool", 1),
    ("pool", ["a"]),
    ("pool", ""),
    ("pool", "-a"),
    ("pool", "a b"),
    ("pool", "a\n"),
    ("pool", "a\x00"),
    ("pool", "a~b"),
    ("pool", "a:"),
    ("pool", ":a"),
    ("pool", "a:b:c"),
    ("pool", "a/b"),
    ("pool", "ä"),
    ("pool", "\u0661"),
    ("pool", "a" * 65),
    ("buyer", ...),
    ("buyer", None),
    ("buyer", 7),
    ("buyer", True),
    ("buyer", {}),
    ("buyer", ""),
    ("buyer", "b" * 129),
    ("buyer", "a\tb"),
    ("buyer", "a\n"),
    ("buyer", "\x00"),
    ("buyer", "a\x1f"),
    ("buyer", "a\x7f"),
    ("buyer", "a\x85"),
    ("buyer", "a\x9f"),
    ("quantity", ...),
    ("quantity", None),
    ("quantity", 0),
    ("quantity", -1),
    ("quantity", QUANTITY_MAX + 1),
    ("quantity", 2**53),
    ("quantity", 2**63),
    ("quantity", 2**64),
    ("quantity", 1.0),
    ("quantity", 1.5),
    ("quantity", "1"),
    ("quantity", True),
    ("quantity", [1]),
    ("extra", 1),
    ("Pool", "campaign-1"),
    ("idempotency_key", "k"),
]
BAD_TEXTS = [
    b"",
    b" ",
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"text"',
    b"{}",
    b"{} {}",
    b"{'pool': 1}",
    b"\xef\xbb\xbf{}",
    b"\xff",
    b'{"pool":"campaign-1","buyer":"\xff","quantity":1}',
    b'{"pool":"campaign-1","buyer":"\xc0\x80","quantity":1}',
    b'{"pool":"campaign-1","buyer":"\xed\xa0\x80","quantity":1}',
    '{"pool":"campaign-1","buyer":"b","quantity":1}'.encode("utf-16"),
    b'{"pool":"campaign-1","buyer":"\\ud800","quantity":1}',
    b'{"pool":"campaign-1","buyer":"\\udc00","quantity":1}',
    b'{"pool":"campaign-1","buyer":"\\ud800x","quantity":1}',
    b'{"pool":"campaign-1","buyer":"\\u0000","quantity":1}',
    b'{"pool":"campaign-1","buyer":"b","quantity":1,"\\ud800":1}',
    b'{"pool":"campaign-1","buyer":"b","quantity":NaN}',
    b'{"pool":"campaign-1","buyer":"b","quantity":Infinity}',
    b'{"pool":"campaign-1","buyer":"b","quantity":1e0}',
    b'{"pool":"campaign-1","buyer":"b","quantity":1e999}',
    b'{"pool":"campaign-1","buyer":"b","quantity":-0}',
    b'{"pool":"campaign-1","buyer":"b","quantity":01}',
    b'{"pool":"campaign-1","buyer":"b","quantity":0x1}',
    b'{"pool":"campaign-1","buyer":"b","quantity":1,}',
    b'{"pool":"campaign-1","buyer":"b","quantity":' + b"9" * 5_000 + b"}",
    b'{"pool":"a","pool":"campaign-1","buyer":"b","quantity":1}',
    b'{"pool":"campaign-1","buyer":"b","quantity":1,"quantity":1}',
    b'{"pool":"campaign-1","buyer":"b","quantity":1,"\\u0070ool":"campaign-1"}',
    b'{"pool":"campaign-1","buyer":"b","quantity":1} x',
    b'{"a":' * 30_000,
    b"[" * 60_000,
]


@pytest.mark.parametrize("body", GOOD_RESERVATIONS, ids=repr)
def test_good_reservations_are_read_alike(body):
    for text in (json.dumps(body), json.dumps(body, ensure_ascii=False, indent=1)):
        assert agree("reserve", text.encode()) == {"attests": None, **body}


@pytest.mark.parametrize(("field", "value"), BAD_RESERVATIONS, ids=repr)
def test_a_bad_field_is_refused_by_name(field, value):
    refusal = agree("reserve", json.dumps(reservation(**{field: value})).encode())
    assert [problem["field"] for problem in refusal.extra["errors"]] == [field]
    assert refusal.detail.startswith(f"{field}: ")


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: repr(text[:50]))
@pytest.mark.parametrize("kind", READERS)
def test_what_is_not_strict_json_is_refused(kind, text):
    assert isinstance(agree(kind, text), InvalidRequest)


@pytest.mark.parametrize(("field", "value"), BAD_RESERVATIONS, ids=repr)
def test_a_batch_is_as_strict_about_each_item(field, value):
    if field == "idempotency_key":
        value = ""
    items = [{"idempotency_key": "k", **reservation()} for _ in range(2)]
    items[1][field] = value
    if value is ...:
        del items[1][field]
    refusal = agree("batch", json.dumps({"items": items}).encode())
    assert [problem["field"] for problem in refusal.extra["errors"]] == [f"items[1].{field}"]


@pytest.mark.parametrize("key", ["", "\x1f", "é", "k" * 256, "k\n", None, 1, "a\tb"])
def test_a_batch_refuses_a_bad_key(key):
    body = {"items": [{"idempotency_key": key, **reservation()}]}
    refusal = agree("batch", json.dumps(body).encode())
    assert refusal.extra["errors"][0]["field"] == "items[0].idempotency_key"


@pytest.mark.parametrize("count", [0, BATCH_ITEMS_MAX + 1])
def test_a_batch_has_a_size(count):
    item = {"idempotency_key": "k", **reservation()}
    refusal = agree("batch", json.dumps({"items": [item] * count}).encode())
    assert refusal.extra["errors"][0]["field"] == "items"


def test_a_full_batch_is_read():
    item = {"idempotency_key": 'k "quoted"', **reservation()}
    body = {"items": [item] * BATCH_ITEMS_MAX}
    read = agree("batch", json.dumps(body).encode())
    assert read == {"items": [{"attests": None, **item}] * BATCH_ITEMS_MAX}


@pytest.mark.parametrize("value", ["", "p" * 129, "a\tb", "\x7f", None, 1, {}])
def test_a_bad_payment_reference_is_refused(value):
    refusal = agree("confirm", json.dumps({"payment_ref": value}).encode())
    assert refusal.extra["errors"][0]["field"] == "payment_ref"


@given(
    st.sampled_from(sorted(READERS)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["pool", "buyer", "quantity", "attests", "level", "items", "payment_ref", "x"]
                ),
                inner,
            )
        ),
        max_leaves=12,
    ),
)
def test_any_value_is_judged_alike(kind, value):
    agree(kind, json.dumps(value).encode())


@given(
    st.fixed_dictionaries(
        {
            "pool": st.from_regex(r"[A-Za-z0-9.~_\n-]{0,66}", fullmatch=True) | st.just("a" * 64),
            "buyer": st.text(max_size=130),
            "quantity": st.integers(-1, 3) | st.floats(0, 3),
        }
    ),
    st.booleans(),
)
def test_any_reservation_is_judged_alike(body, ascii_only):
    agree("reserve", json.dumps(body, ensure_ascii=ascii_only).encode(errors="surrogatepass"))


@given(st.sampled_from(sorted(READERS)), st.binary(max_size=200))
def test_any_bytes_are_judged_alike(kind, body):
    agree(kind, body)


@given(st.data())
def test_a_damaged_body_is_judged_alike(data):
    body = bytearray(json.dumps(reservation()).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    agree("reserve", bytes(body))


def test_a_refusal_tells_everything_that_is_wrong():
    refusal = lean("reserve", b'{"buyer":"","quantity":0,"more":1}')
    assert refusal.extra["errors"] == [
        {"field": "pool", "problem": "is required"},
        {"field": "buyer", "problem": "must have at least 1 character"},
        {"field": "quantity", "problem": "must be greater than or equal to 1"},
        {"field": "more", "problem": "is not known here"},
    ]
    assert refusal.detail == "pool: is required (and 3 more)"


def test_a_refusal_is_bounded():
    body = json.dumps({"x" * 500 + str(number): 1 for number in range(1_000)}).encode()
    refusal = lean("reserve", body)
    assert len(refusal.extra["errors"]) == 20
    assert all(len(problem["field"]) <= 64 for problem in refusal.extra["errors"])


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("reserve", b'{"pool":"a","buyer":"b","buyer":"b","quantity":1}'),
        ("confirm", b'{"payment_ref":"a","payment_ref":"b"}'),
        ("confirm", b'{"payment_ref":"a","payment\\u005fref":"b"}'),
        ("batch", b'{"items":[],"items":[%s]}'),
        ("batch", b'{"items":[{"pool":"x",%s]}'),
    ],
)
def test_a_name_that_stands_twice_is_refused(kind, body):
    item = json.dumps({"idempotency_key": "k", **reservation()}).encode()
    if b"%s" in body:
        body = body % (item[1:] if body.count(b"{") > 1 else item)
    refusal = agree(kind, body)
    assert "twice" in refusal.detail


@pytest.mark.parametrize("body", [b"", b"{}", b" {} ", b"null"])
def test_cancelling_says_nothing(body):
    decode_cancel(body)


@pytest.mark.parametrize("body", [b'{"a":1}', b"[]", b"{", b"0", b'""', b"\xff", b" "])
def test_cancelling_refuses_to_be_told_something(body):
    with pytest.raises(InvalidRequest):
        decode_cancel(body)


@pytest.mark.parametrize(
    ("raw", "key"),
    [(b"k", "k"), (b" k ", "k"), (b"a b", "a b"), (b"~!\x20x", "~! x"), (b"k" * 255, "k" * 255)],
)
def test_idempotency_keys(raw, key):
    assert idempotency_key(raw) == key


@pytest.mark.parametrize("raw", [None, b"", b"  ", b"\t"])
def test_an_idempotency_key_is_required(raw):
    with pytest.raises(IdempotencyKeyRequired):
        idempotency_key(raw)


@pytest.mark.parametrize("raw", [b"k" * 256, b"a\tb", b"\xe9", b"a\x00", b"a\x7f", b"a\nb"])
def test_an_idempotency_key_is_printable_and_short(raw):
    with pytest.raises(InvalidRequest) as caught:
        idempotency_key(raw)
    assert caught.value.extra["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    "value",
    [
        b"application/json",
        b"Application/JSON",
        b" application/json ",
        b"application/json;charset=utf-8",
        b'application/json; charset="UTF-8"',
    ],
)
def test_json_may_say_its_charset(value):
    require_json(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"application/jsonp",
        b"application/problem+json",
        b"application/json; charset=latin-1",
        b"application/json; boundary=x",
        b"application/json, text/plain",
        b"\xff",
    ],
)
def test_any_other_media_type_is_refused(value):
    with pytest.raises(UnsupportedMediaType):
        require_json(value)
