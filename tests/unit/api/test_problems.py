"""Every error becomes one document, with the headers that its status asks for."""

from __future__ import annotations

import json

import pytest

from flashstock import errors
from flashstock.api.openapi import answers
from flashstock.api.problems import problem_document, problem_response_parts
from flashstock.ledger.failures import LedgerUnavailable

KINDS = tuple(answers(errors.FlashstockError))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_the_standard_members(kind):
    document = problem_document(kind("what was wrong"))
    assert list(document)[:5] == ["type", "title", "status", "detail", "code"]
    assert document["type"] == f"urn:flashstock:problem:{kind.code}"
    assert (document["status"], document["code"]) == (kind.status, kind.code)
    assert document["detail"] == ("what was wrong" if kind.status < 500 else kind.title)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_headers_follow_the_status(kind):
    status, headers, body = problem_response_parts(kind())
    names = dict(headers)
    assert status == kind.status
    assert names[b"content-type"] == b"application/problem+json"
    assert names[b"content-length"] == b"%d" % len(body)
    assert (b"retry-after" in names) == (status in {429, 503})
    assert (names.get(b"www-authenticate") == b"Bearer") == (status == 401)
    assert (b"allow" in names) == (status == 405)


def test_a_refusal_carries_what_a_page_needs():
    error = errors.NotStarted("soon", pool="p", available=3, starts_at="then", retry_after_ms=None)
    document = problem_document(error)
    assert document["pool"] == "p"
    assert document["available"] == 3
    assert document["starts_at"] == "then"
    assert "retry_after_ms" not in document


def test_extra_members_can_not_change_the_standard_ones():
    document = problem_document(errors.SoldOut("gone", code="free", status=200))
    assert (document["code"], document["status"]) == ("sold_out", 409)


def test_what_a_store_said_stays_in_the_log():
    error = LedgerUnavailable("connect to 10.0.0.1 failed: password of user shop")
    body = problem_response_parts(error)[2]
    assert b"password" not in body
    assert json.loads(body)["code"] == "unavailable"


def test_what_is_no_http_answer_becomes_an_internal_error():
    document = problem_document(errors.ConfigurationError("FLASHSTOCK_SECRET is abc", key="abc"))
    assert document["code"] == "internal_error"
    assert "abc" not in json.dumps(document)


def test_a_rate_limit_rounds_its_wait_up():
    assert (b"retry-after", b"3") in problem_response_parts(
        errors.RateLimited(retry_after_ms=2_001)
    )[1]


def test_a_wrong_method_names_the_right_ones():
    headers = problem_response_parts(errors.WrongMethod(allow=["GET", "HEAD"]))[1]
    assert (b"allow", b"GET, HEAD") in headers
