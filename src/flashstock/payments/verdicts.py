"""What a disagreement is called, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from flashstock.payments.statements import Line, LineKind

Money = tuple[int, str]
"""Minor units, and the currency."""


class CaseCode(StrEnum):
    """The four ways to disagree; ``kind`` says whether about a payment or a refund."""

    THERE_NOT_HERE = "there_not_here"
    HERE_NOT_THERE = "here_not_there"
    AMOUNT_DIFFERS = "amount_differs"
    TWICE = "twice"


class Remedy(StrEnum):
    CONFIRM_OR_PAY_BACK = "confirm_or_pay_back"
    ASK_GATEWAY = "ask_gateway"
    SETTLE_DIFFERENCE = "settle_difference"
    PAY_BACK_ONE = "pay_back_one"
    SETTLE_REFUND = "settle_refund"
    RETURN_SALE = "return_sale"
    FIND_OUT = "find_out"
    REFUND_AGAIN = "refund_again"
    COLLECT_ONE = "collect_one"


@dataclass(frozen=True, slots=True)
class Advice:
    """A remedy in words, and the call that carries it out where there is one."""

    text: str
    call: str | None = None


ADVICE: Final[dict[Remedy, Advice]] = {
    Remedy.CONFIRM_OR_PAY_BACK: Advice(
        "Nobody here knows this payment. Find the reservation it was meant for and confirm it; if"
        " that has ended and nothing is left, a refund is put on record. Else pay it back.",
        "POST /v1/reservations/{reservation_id}/confirm",
    ),
    Remedy.ASK_GATEWAY: Advice(
        "The sale is on record, the money is not on the statement. It may be on the next one (the"
        " case then closes by itself); if not, ask the gateway, and take the sale back.",
        "POST /v1/reservations/{reservation_id}/return",
    ),
    Remedy.SETTLE_DIFFERENCE: Advice(
        "Collect what is missing, or pay back what is too much, at the gateway."
    ),
    Remedy.PAY_BACK_ONE: Advice("The buyer paid twice: pay one of them back at the gateway."),
    Remedy.SETTLE_REFUND: Advice(
        "The refund that is due here was made there: note it.",
        "POST /v1/ops/refunds/{refund_id}/settle",
    ),
    Remedy.RETURN_SALE: Advice(
        "The buyer has the money back and, as far as we know, the goods: take the sale back.",
        "POST /v1/reservations/{reservation_id}/return",
    ),
    Remedy.FIND_OUT: Advice(
        "Money went out for a payment that nobody here knows: find out who did that, and why."
    ),
    Remedy.REFUND_AGAIN: Advice(
        "Here the refund is settled, there it never happened. It may be on the next statement (the"
        " case then closes by itself); if not, pay it back at the gateway."
    ),
    Remedy.COLLECT_ONE: Advice("The buyer was refunded twice: ask for one of them back."),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement. Amounts are ``None`` where they are not known (or there is none)."""

    kind: LineKind
    code: CaseCode
    payment_ref: str
    remedy: Remedy
    line: int | None = None
    here: Money | None = None
    there: Money | None = None
    order_no: str | None = None
    reservation: str | None = None
    refund: int | None = None


@dataclass(frozen=True, slots=True)
class KnownPayment:
    """What we know of a payment. ``expected`` is ``None`` where no price is on record.

    ``owed``: it came too late, and is on record as due back; ``returned``: units of its sale that
    came back; ``expected_back``: their price.
    """

    payment_ref: str
    expected: Money | None = None
    order_no: str | None = None
    reservation: str | None = None
    returned: int = 0
    expected_back: Money | None = None
    owed: bool = False


@dataclass(frozen=True, slots=True)
class KnownRefund:
    """A refund on record here. ``expected`` as of a payment."""

    id: int
    payment_ref: str
    reservation: str
    settled: bool
    expected: Money | None = None


def judge_payments(
    payment_ref: str, lines: Sequence[Line], known: KnownPayment | None
) -> list[Finding]:
    """All payments a gateway ever had under one reference, against what we know of it.

    Args:
        lines: at least one, oldest statement first.
    """
    kind = LineKind.PAYMENT
    last = lines[-1]
    there = (last.amount_minor, last.currency)
    if known is None:
        remedy = Remedy.CONFIRM_OR_PAY_BACK
        code = CaseCode.THERE_NOT_HERE
        return [Finding(kind, code, payment_ref, remedy, last.line, None, there)]
    found = []
    if len(lines) > 1:
        twice = (CaseCode.TWICE, payment_ref, Remedy.PAY_BACK_ONE)
        found.append(Finding(kind, *twice, last.line, known.expected, there))
    wrong = next((each for each in lines if _differs(known.expected, each)), None)
    if wrong is not None:
        differs = (CaseCode.AMOUNT_DIFFERS, payment_ref, Remedy.SETTLE_DIFFERENCE)
        amount = (wrong.amount_minor, wrong.currency)
        found.append(Finding(kind, *differs, wrong.line, known.expected, amount))
    return [_of_payment(finding, known) for finding in found]


def judge_refunds(
    reference: str,
    lines: Sequence[Line],
    refund: KnownRefund | None,
    payment: KnownPayment | None,
) -> list[Finding]:
    """All refunds a gateway ever made under one reference, against what we know of it.

    Args:
        refund: the refund on record that has this reference, or is of this payment.
        payment: the payment of this reference.
    """
    kind = LineKind.REFUND
    last = lines[-1]
    there = (last.amount_minor, last.currency)
    if refund is not None:
        return _judge_known_refund(reference, lines, refund)
    if payment is None or payment.order_no is None:
        unknown = (CaseCode.THERE_NOT_HERE, reference, Remedy.FIND_OUT)
        return [Finding(kind, *unknown, last.line, None, there)]
    if not payment.returned:
        kept = (CaseCode.THERE_NOT_HERE, reference, Remedy.RETURN_SALE)
        return [_of_payment(Finding(kind, *kept, last.line, None, there), payment)]
    # Goods may come back, and be refunded, in parts: only the sum can be compared.
    total = (sum(line.amount_minor for line in lines), last.currency)
    if payment.expected_back is None or payment.expected_back == total:
        return []
    differs = (CaseCode.AMOUNT_DIFFERS, reference, Remedy.SETTLE_DIFFERENCE)
    finding = Finding(kind, *differs, last.line, payment.expected_back, total)
    return [_of_payment(finding, payment)]


def _judge_known_refund(
    reference: str, lines: Sequence[Line], refund: KnownRefund
) -> list[Finding]:
    kind = LineKind.REFUND
    last = lines[-1]
    there = (last.amount_minor, last.currency)
    found = []
    if not refund.settled:
        due = (CaseCode.THERE_NOT_HERE, reference, Remedy.SETTLE_REFUND)
        found.append(Finding(kind, *due, last.line, refund.expected, there))
    if len(lines) > 1:
        twice = (CaseCode.TWICE, reference, Remedy.COLLECT_ONE)
        found.append(Finding(kind, *twice, last.line, refund.expected, there))
    wrong = next((each for each in lines if _differs(refund.expected, each)), None)
    if wrong is not None:
        differs = (CaseCode.AMOUNT_DIFFERS, reference, Remedy.SETTLE_DIFFERENCE)
        amount = (wrong.amount_minor, wrong.currency)
        found.append(Finding(kind, *differs, wrong.line, refund.expected, amount))
    return [replace(finding, reservation=refund.reservation, refund=refund.id) for finding in found]


def _of_payment(finding: Finding, payment: KnownPayment) -> Finding:
    return replace(finding, order_no=payment.order_no, reservation=payment.reservation)


def _differs(expected: Money | None, line: Line) -> bool:
    return expected is not None and expected != (line.amount_minor, line.currency)
