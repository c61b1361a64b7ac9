"""Signatures after the Standard Webhooks specification; its own library does the signing."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from standardwebhooks.webhooks import Webhook

SECRET_BYTES: Final = 32
"""The specification wants 24 to 64."""
SECRET_PREFIX: Final = "whsec_"


def new_secret() -> str:
    """A signing secret, the way receivers' libraries read it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(
    event_id: str, at_ms: int, body: str, signing_secrets: Sequence[str]
) -> dict[str, str]:
    """The headers of one attempt.

    Args:
        event_id: the same at every attempt: the receiver's idempotency key.
        at_ms: of this attempt; receivers refuse what is minutes old.
        signing_secrets: one, or two while the older of them still counts: one signature each.
    """
    at = datetime.fromtimestamp(at_ms // 1_000, UTC)
    signatures = [Webhook(secret).sign(event_id, at, body) for secret in signing_secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at_ms // 1_000),
        "webhook-signature": " ".join(signatures),
    }
