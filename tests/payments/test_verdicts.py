"""What a disagreement is called: every way there is, and never one where there is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flashstock.payments.statements import Line, LineKind
from flashstock.payments.verdicts import (
    ADVICE,
    CaseCode,
    KnownPayment,
    KnownRefund,
    Remedy,
    judge_payments,
    judge_refunds,
)

PRICE = (1999, "EUR")
KNOWN = KnownPayment("pay", PRICE, "o-1", "p~1")
PAYMENT, REFUND = LineKind.PAYMENT, LineKind.REFUND


def lines(*amounts, kind=PAYMENT, currency="EUR"):
    return [Line(n, kind, "pay", amount, currency, 1) for n, amount in enumerate(amounts, 2)]


def said(findings):
    return [(finding.code, finding.remedy) for finding in findings]


def test_payments():
    assert said(judge_payments("pay", lines(1999), None)) == [
        (CaseCode.THERE_NOT_HERE, Remedy.CONFIRM_OR_PAY_BACK)
    ]
    assert judge_payments("pay", lines(1999), KNOWN) == []
    differs = [(CaseCode.AMOUNT_DIFFERS, Remedy.SETTLE_DIFFERENCE)]
    assert said(judge_payments("pay", lines(1998), KNOWN)) == differs
    assert said(judge_payments("pay", lines(1999, currency="USD"), KNOWN)) == differs
    twice = [(CaseCode.TWICE, Remedy.PAY_BACK_ONE)]
    assert said(judge_payments("pay", lines(1999, 1999), KNOWN)) == twice
    assert said(judge_payments("pay", lines(1999, 5), KNOWN)) == twice + differs
    [finding] = judge_payments("pay", lines(5), KNOWN)
    assert (finding.here, finding.there, finding.line) == (PRICE, (5, "EUR"), 2)
    assert (finding.order_no, finding.reservation) == ("o-1", "p~1")


@given(amount=st.integers(0, 10**9))
def test_where_no_price_is_known_only_presence_counts(amount):
    known = KnownPayment("pay", None, "o-1", "p~1")
    assert judge_payments("pay", lines(amount), known) == []
    assert judge_payments("pay", lines(amount), KnownPayment("pay", owed=True)) == []
    refund = KnownRefund(1, "pay", "p~1", settled=True)
    assert judge_refunds("pay", lines(amount, kind=REFUND), refund, None) == []


def test_refunds_that_are_on_record():
    settled = KnownRefund(1, "pay", "p~1", settled=True, expected=PRICE)
    due = KnownRefund(1, "pay", "p~1", settled=False, expected=PRICE)
    assert judge_refunds("pay", lines(1999, kind=REFUND), settled, None) == []
    assert said(judge_refunds("pay", lines(1999, kind=REFUND), due, None)) == [
        (CaseCode.THERE_NOT_HERE, Remedy.SETTLE_REFUND)
    ]
    assert said(judge_refunds("pay", lines(1999, 1999, kind=REFUND), settled, None)) == [
        (CaseCode.TWICE, Remedy.COLLECT_ONE)
    ]
    [finding] = judge_refunds("pay", lines(7, kind=REFUND), settled, None)
    assert finding.code is CaseCode.AMOUNT_DIFFERS
    assert (finding.refund, finding.reservation) == (1, "p~1")


def test_refunds_of_sales():
    unknown = [(CaseCode.THERE_NOT_HERE, Remedy.FIND_OUT)]
    assert said(judge_refunds("pay", lines(1, kind=REFUND), None, None)) == unknown
    assert said(judge_refunds("pay", lines(1999, kind=REFUND), None, KNOWN)) == [
        (CaseCode.THERE_NOT_HERE, Remedy.RETURN_SALE)
    ]
    back = KnownPayment("pay", PRICE, "o-1", "p~1", 1, PRICE)
    assert judge_refunds("pay", lines(1999, kind=REFUND), None, back) == []
    assert judge_refunds("pay", lines(1000, 999, kind=REFUND), None, back) == [], "in parts"
    assert said(judge_refunds("pay", lines(1999, 1999, kind=REFUND), None, back)) == [
        (CaseCode.AMOUNT_DIFFERS, Remedy.SETTLE_DIFFERENCE)
    ]


def test_every_remedy_has_words():
    assert set(ADVICE) == set(Remedy)
    assert all(advice.text for advice in ADVICE.values())
