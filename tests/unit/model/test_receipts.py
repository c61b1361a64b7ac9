"""Receipts: nobody else can make one, and an old key still reads what it signed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.model.receipts import Receipt, ReceiptSigner

KEYS = {"old": b"old secret", "new": b"new secret"}
RECEIPT = Receipt("p~AAAAAAAAAAAAAAAA", "ann", 2, 1_700_000_000_000, 3, 42)


def sign(signer: ReceiptSigner, receipt: Receipt) -> str:
    stamp = f"{receipt.deadline_ms}\t{receipt.generation}\t{receipt.seq}"
    return signer.sign(receipt.reservation_id, receipt.buyer, receipt.quantity, stamp)


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=128),
    st.integers(1, 10**6),
    st.integers(0, 10**13 - 1),
    st.integers(1, 10**9),
    st.integers(1, 2**53),
)
def test_what_was_signed_is_what_is_read(buyer, quantity, deadline_ms, generation, seq):
    signer = ReceiptSigner(KEYS, "new")
    receipt = Receipt(RECEIPT.reservation_id, buyer, quantity, deadline_ms, generation, seq)
    text = sign(signer, receipt)
    assert signer.verify(text) == receipt
    assert text.isascii()
    assert "\t" not in text
    assert sign(signer, receipt) == text


def test_a_rotated_key_reads_what_it_signed_and_signs_no_more():
    before = ReceiptSigner({"old": KEYS["old"]}, "old")
    after = ReceiptSigner(KEYS, "new")
    retired = ReceiptSigner({"new": KEYS["new"]}, "new")
    text = sign(before, RECEIPT)
    assert after.verify(text) == RECEIPT
    assert sign(after, RECEIPT).startswith("new.")
    assert before.verify(sign(after, RECEIPT)) is None
    assert retired.verify(text) is None


@given(st.data())
def test_a_receipt_that_was_touched_is_none(data):
    signer = ReceiptSigner(KEYS, "new")
    text = sign(signer, RECEIPT)
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(max_codepoint=0x2FF).filter(lambda c: c != text[place]))
    touched = text[:place] + letter + text[place + 1 :]
    verified = signer.verify(touched)
    # The last letters of base64 carry bits that mean nothing: other text, same receipt.
    assert verified in (None, RECEIPT)
    if place < len(text) - 4:
        assert verified is None


@pytest.mark.parametrize(
    "text", ["", ".", "new", "new.", "new.AAAA", "unknown.AAAA", "new.ééé", "new.AAA", "new.\ud800"]
)
def test_what_is_no_receipt_is_none(text):
    assert ReceiptSigner(KEYS, "new").verify(text) is None


def test_signed_text_that_is_no_receipt_is_none():
    """Should a key ever have signed something else."""
    signer = ReceiptSigner(KEYS, "new")
    assert signer.verify(signer.sign("p", "ann", 1, "no stamp")) is None


def test_a_signer_needs_its_key():
    with pytest.raises(KeyError):
        ReceiptSigner(KEYS, "missing")


@pytest.mark.parametrize("length", [1, 32, 63, 64, 65, 200])
def test_secrets_of_any_length_sign_what_hmac_would(length):
    """``verify`` asks Python's own HMAC."""
    signer = ReceiptSigner({"key": b"s" * length}, "key")
    assert signer.verify(sign(signer, RECEIPT)) == RECEIPT
