"""Signatures: the specification's own example, and whatever its library verifies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from flashstock.notices.signing import new_secret, signed_headers

VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_AT_S = 1_614_265_330
VECTOR_BODY = '{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_vector_of_the_libraries():
    headers = signed_headers(VECTOR_ID, VECTOR_AT_S * 1_000 + 999, VECTOR_BODY, [VECTOR_SECRET])
    assert headers == {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": str(VECTOR_AT_S),
        "webhook-signature": VECTOR_SIGNATURE,
    }


@given(body=st.text(), at_s=st.integers(1, 4_000_000_000))
def test_it_is_the_hmac_of_id_time_and_body(body, at_s):
    body = body.encode("utf-8", "ignore").decode()
    secret = new_secret()
    headers = signed_headers("msg_1", at_s * 1_000, body, [secret])
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"msg_1.{at_s}.{body}".encode()
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_two_secrets_make_two_signatures_and_either_verifies():
    old, new = new_secret(), new_secret()
    headers = signed_headers("msg_1", int(time.time() * 1_000), "{}", [new, old])
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        Webhook(secret).verify("{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify("{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify("{ }", headers)


def test_a_secret_is_as_long_as_the_specification_wants():
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"))) <= 64
    assert secret != new_secret()
