"""Payments compared with what the gateway says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies import format_time
from flashstock.api.csv_routing import CSV_BODY, CsvBodyOf, CsvRoute
from flashstock.api.documents_imports import (
    PaymentCaseDocument,
    PaymentCasePage,
    StatementDocument,
)
from flashstock.api.notice_routing import NoticesOf
from flashstock.api.openapi import REPLAYED, problems
from flashstock.api.routing import OpsRoute, PrincipalOf, answer
from flashstock.api.schemas import NO_CONTROL_CHARACTERS, Body, NumberedPageRequest, PaymentRef
from flashstock.imports.service import file_refused
from flashstock.model.csv_rows import CsvRefused
from flashstock.model.rules import PAYMENT_REF_LENGTH_MAX
from flashstock.payments.reconciliation import span_of
from flashstock.payments.statements import LineKind
from flashstock.payments.verdicts import ADVICE, CaseCode, Remedy

GATEWAY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
DAY_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
NOTE_LENGTH_MAX = 500

statements = APIRouter(prefix="/v1/payments", tags=["payments"], route_class=CsvRoute)
cases = APIRouter(prefix="/v1/payments", tags=["payments"], route_class=OpsRoute)

Gateway = Annotated[str, Field(pattern=GATEWAY_PATTERN, examples=["gateway-1"])]


class StatementQuery(BaseModel):
    """Of which gateway and day (UTC) it is."""

    model_config = ConfigDict(extra="forbid")

    gateway: Gateway
    day: Annotated[str, Field(pattern=DAY_PATTERN, examples=["2026-11-22"])]
    ref_prefix: Annotated[str, Field(max_length=PAYMENT_REF_LENGTH_MAX)] = Field(
        default="", description="What our payment references of this gateway begin with."
    )

    @field_validator("day", mode="after")
    @classmethod
    def _is_a_day(cls, day: str) -> str:
        try:
            span_of(day)
        except ValueError:
            raise ValueError("is not a day of the calendar") from None
        return day


class CasePageRequest(NumberedPageRequest):
    """Which cases to list."""

    state: Literal["open", "resolved", "all"] = "open"
    kind: LineKind | None = None
    code: CaseCode | None = None
    gateway: Gateway | None = None
    payment_ref: PaymentRef | None = None


class ResolveRequest(Body):
    """How it was resolved."""

    note: Annotated[
        str,
        Field(min_length=1, max_length=NOTE_LENGTH_MAX, pattern=NO_CONTROL_CHARACTERS),
    ]


_RESOLVED = {"open": False, "resolved": True, "all": None}


@statements.post(
    "/statements",
    summary="Compare a gateway's statement with what is on record",
    openapi_extra=CSV_BODY,
    responses={
        200: {"model": StatementDocument, "headers": REPLAYED},
        **problems(errors.FileRefused, writes=True),
    },
)
async def take_statement(
    query: Annotated[StatementQuery, Query()],
    body: CsvBodyOf,
    notices: NoticesOf,
    principal: PrincipalOf,
) -> Response:
    """The same file again does nothing and gives the same answer; another one of the same gateway
    and day takes its place. Columns: payment_ref, amount_minor, currency, kind, at, status.
    """
    try:
        reconciled = await notices.reconciliation.take(
            query.gateway, query.day, query.ref_prefix, body, principal.name
        )
    except CsvRefused as refused:
        raise file_refused(refused) from None
    return answer(reconciled.document, replayed=reconciled.replayed)


@cases.get(
    "/cases",
    summary="What does not agree",
    responses={200: {"model": PaymentCasePage}, **problems(errors.InvalidRequest)},
)
async def list_cases(page: Annotated[CasePageRequest, Query()], notices: NoticesOf) -> Response:
    """Each with a remedy. Oldest first."""
    rows = await notices.cases.page(
        page.after,
        page.limit,
        resolved=_RESOLVED[page.state],
        kind=page.kind,
        code=page.code,
        gateway=page.gateway,
        payment_ref=page.payment_ref,
    )
    next_after = rows[-1].id if len(rows) == page.limit else None
    return answer({"items": [_case(row) for row in rows], "next_after": next_after})


@cases.post(
    "/cases/{case_id}/resolve",
    summary="Note how a case was resolved",
    responses={
        200: {"model": PaymentCaseDocument, "headers": REPLAYED},
        **problems(errors.UnknownPaymentCase, errors.CaseResolved, writes=True),
    },
)
async def resolve_case(
    case_id: Annotated[int, Path(ge=1, le=2**53, examples=[17])],
    body: ResolveRequest,
    notices: NoticesOf,
    principal: PrincipalOf,
) -> Response:
    """Once. Repeating it with the same note changes nothing."""
    row, changed = await notices.cases.resolve(case_id, body.note, principal.name)
    return answer(_case(row), replayed=not changed)


def _case(row: Any) -> dict[str, Any]:
    remedy = Remedy(row.remedy)
    return {
        "id": row.id,
        "state": "open" if row.resolved_at_ms is None else "resolved",
        "kind": row.kind,
        "code": row.code,
        "gateway": row.gateway,
        "day": row.day,
        "statement": row.statement,
        "line": row.line,
        "payment_ref": row.payment_ref,
        "order_no": row.order_no,
        "reservation": row.reservation,
        "refund": row.refund,
        "here": _money(row.amount_here_minor, row.currency_here),
        "there": _money(row.amount_there_minor, row.currency_there),
        "remedy": {"code": remedy.value, **_advice(row, remedy)},
        "opened_at": format_time(row.opened_at_ms),
        "resolved_at": format_time(row.resolved_at_ms) if row.resolved_at_ms else None,
        "resolved_by": row.resolved_by,
        "note": row.note,
    }


def _advice(row: Any, remedy: Remedy) -> dict[str, str | None]:
    """The words, and the call with what is known filled in."""
    advice = ADVICE[remedy]
    call = advice.call
    for name, value in (("reservation_id", row.reservation), ("refund_id", row.refund)):
        if call is not None and value is not None:
            call = call.replace(f"{{{name}}}", str(value))
    return {"text": advice.text, "call": call}


def _money(amount_minor: int | None, currency: str | None) -> dict[str, Any] | None:
    if amount_minor is None:
        return None
    return {"amount_minor": amount_minor, "currency": currency}
