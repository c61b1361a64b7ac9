"""Every problem document comes back as the error it was made from."""

from __future__ import annotations

import json

import pytest

from flashstock import errors
from flashstock.client import UnexpectedAnswer
from flashstock.client.problems import ERROR_OF_CODE, error_of


@pytest.mark.parametrize("kind", sorted(ERROR_OF_CODE.values(), key=repr))
def test_a_code_gives_its_error_with_what_a_page_needs(kind):
    document = {
        "type": f"urn:flashstock:problem:{kind.code}",
        "title": "T",
        "status": kind.status,
        "detail": "because",
        "code": kind.code,
        "pool": "p",
        "available": 3,
        "self": "a member that must not break the call",
    }
    error = error_of(kind.status, json.dumps(document).encode())
    assert type(error) is kind
    assert error.detail == "because"
    assert error.extra == {"pool": "p", "available": 3}


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("payload", [b"", b"<html>Bad gateway</html>", b"[]", b"\xff"])
def test_a_proxy_that_could_not_reach_us_means_unavailable(status, payload):
    assert type(error_of(status, payload)) is errors.Unavailable


@pytest.mark.parametrize(
    ("status", "payload"),
    [(500, b"oops"), (301, b""), (409, b'{"code": "from_the_future"}'), (404, b'{"code": 7}')],
)
def test_what_the_interface_does_not_know_is_said_so(status, payload):
    error = error_of(status, payload)
    assert type(error) is UnexpectedAnswer
    assert str(status) in error.detail
    assert error.extra["http_status"] == status
