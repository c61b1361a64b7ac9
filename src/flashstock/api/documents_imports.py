"""The shape of what is answered about files and payments."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from flashstock.api.documents import Time, Units
from flashstock.imports.service import ImportKind
from flashstock.payments.statements import LineKind
from flashstock.payments.verdicts import CaseCode, Remedy


class ImportDocument(BaseModel):
    """What became of the rows of a file, or (a dry run) would have become of them."""

    kind: ImportKind
    dry_run: bool
    rows: Units
    created: Units
    changed: Units
    unchanged: Units
    skipped: Units = Field(description="Rows that say nothing: not stocked, or without a SKU.")
    units_in: Units = Field(description="Units that were received from a stocktake.")
    units_out: Units = Field(description="Units that were written off to one.")
    campaigns: list[str] = Field(description="The codes of the drafts, in the file's order.")


class StatementDocument(BaseModel):
    """What a statement showed. Where a price is not on record, only presence is compared."""

    id: int
    gateway: str
    day: str
    payments: Units
    refunds: Units
    skipped: Units = Field(description="Lines of payments that did not succeed.")
    amounts_compared: Units
    amounts_unknown: Units
    cases: dict[str, Units] = Field(
        description="`payment` or `refund`, a dot, and the code: disagreements found."
    )
    cases_opened: Units = Field(description="Of these, those that were not on record.")
    cases_closed: Units = Field(description="Earlier cases that this statement explains.")


class MoneyDocument(BaseModel):
    amount_minor: int
    currency: str


class RemedyDocument(BaseModel):
    """What to do. ``call`` is the request that does it, where there is one."""

    code: Remedy
    text: str
    call: str | None


class PaymentCaseDocument(BaseModel):
    """A disagreement. ``here`` is what we expected, ``there`` what the gateway says."""

    id: int
    state: Literal["open", "resolved"]
    kind: LineKind
    code: CaseCode
    gateway: str
    day: str
    statement: int
    line: int | None = Field(description="Where the file says so.")
    payment_ref: str
    order_no: str | None
    reservation: str | None
    refund: int | None
    here: MoneyDocument | None
    there: MoneyDocument | None
    remedy: RemedyDocument
    opened_at: Time
    resolved_at: Time | None
    resolved_by: str | None
    note: str | None


class PaymentCasePage(BaseModel):
    items: list[PaymentCaseDocument]
    next_after: int | None
