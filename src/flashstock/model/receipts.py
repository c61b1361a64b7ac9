"""Receipts: a signed statement of a hold that anyone with the key can check without a store.

``<key id>.<claims and their HMAC-SHA256, base64url>``. The claims are the record's fields,
so a replayed request yields the same receipt to the letter.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from flashstock.model.ids import FIELD_SEPARATOR, URL_SAFE

_BLOCK: Final = 64
"""Bytes that SHA-256 takes at a time."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is signed. ``deadline_ms`` is the deadline at the time of signing."""

    reservation_id: str
    buyer: str
    quantity: int
    deadline_ms: int
    generation: int
    seq: int


class ReceiptSigner:
    """Signs with the newest key and accepts every known one, so keys can be rotated.

    Args:
        keys: key id → secret. Ids hold no dot.
        current: the id that signs.
    """

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        self._keys = dict(keys)
        self._current = current
        # The two halves of HMAC (RFC 2104) with the key's block already in them. A copy of each
        # costs two thirds of a copy of Python's own HMAC object.
        secret = self._keys[current]
        block = (sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, reservation_id: str, buyer: str, quantity: int, stamp: str) -> str:
        """Sign one hold. ``stamp`` is ``deadline_ms⇥generation⇥seq`` (shared by a whole batch)."""
        claims = f"{stamp}\t{quantity}\t{reservation_id}\t{buyer}".encode()
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(claims)
        outer.update(inner.digest())
        encoded = b2a_base64(claims + outer.digest(), newline=False).translate(URL_SAFE)
        return f"{self._current}.{encoded.decode()}"

    def verify(self, text: str) -> Receipt | None:
        """The claims of a receipt that one of our keys signed, else ``None``."""
        key_id, _, encoded = text.partition(".")
        secret = self._keys.get(key_id)
        if secret is None:
            return None
        try:
            signed = urlsafe_b64decode(encoded.encode("ascii"))
            claims, signature = signed[:-32], signed[-32:]
            if not hmac.compare_digest(hmac.digest(secret, claims, "sha256"), signature):
                return None
            deadline, generation, seq, quantity, reservation_id, buyer = claims.decode().split(
                FIELD_SEPARATOR
            )
            return Receipt(
                reservation_id, buyer, int(quantity), int(deadline), int(generation), int(seq)
            )
        except ValueError:
            return None
