"""What operators look at: proof, shards, quarantine, refunds."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies import format_time
from flashstock.api.documents import (
    AuditPage,
    QuarantineDocument,
    QuarantinePage,
    RebuildDocument,
    ReconciliationDocument,
    RefundDocument,
    RefundPage,
    RepairDocument,
    ShardList,
)
from flashstock.api.openapi import REPLAYED, problems
from flashstock.api.routing import AdminRoute, OpsRoute, PrincipalOf, ServicesOf, answer
from flashstock.api.schemas import (
    AuditPageRequest,
    NothingBody,
    NumberedPageRequest,
    RebuildRequest,
    RefundPageRequest,
    RepairRequest,
    SettleRequest,
)
from flashstock.api.shards import shard_statuses
from flashstock.ledger.audit import RecordedChange
from flashstock.ledger.stored import QuarantinedEvent, StoredRefund

operations = APIRouter(prefix="/v1/ops", tags=["operations"], route_class=OpsRoute)
auditing = APIRouter(prefix="/v1/ops", tags=["operations"], route_class=OpsRoute)
rebuilding = APIRouter(prefix="/v1/ops", tags=["operations"], route_class=AdminRoute)


@operations.get(
    "/reconciliation",
    summary="Compare Redis, the log and SQL",
    responses={200: {"model": ReconciliationDocument}, **problems()},
)
async def reconciliation(services: ServicesOf) -> Response:
    """Reads everything, in bounded memory. The differences shown are limited, the count is not."""
    report = await services.reconciliation.report()
    services.proof_watch.found(report)
    return answer(report)


@operations.post(
    "/reconciliation/repair",
    summary="Bring Redis back to what SQL says",
    responses={200: {"model": RepairDocument}, **problems(writes=True)},
)
async def repair(services: ServicesOf, body: RepairRequest | None = None) -> Response:
    """Only shows what would be written unless `dry_run` is false. SQL itself never changes."""
    dry_run = body is None or body.dry_run
    return answer(await services.reconciliation.repair(dry_run=dry_run))


@operations.get(
    "/shards",
    summary="How far SQL has followed the log",
    responses={200: {"model": ShardList}, **problems()},
)
async def shards(services: ServicesOf) -> Response:
    """`state` is this process's: `recovering` while it refuses calls to the shard."""
    statuses = await shard_statuses(services.store, services.queries, services.outages)
    return answer({"shards": [status.document() for status in statuses]})


@operations.get(
    "/quarantine",
    summary="Events that could not be applied",
    responses={200: {"model": QuarantinePage}, **problems(errors.InvalidRequest)},
)
async def quarantine(
    page: Annotated[NumberedPageRequest, Query()], services: ServicesOf
) -> Response:
    """Their pools are paused. Oldest first."""
    rows = await services.queries.quarantined(page.after, page.limit)
    next_after = rows[-1].id if len(rows) == page.limit else None
    return answer({"items": [_quarantined(row) for row in rows], "next_after": next_after})


@operations.post(
    "/quarantine/{event_id}/resolve",
    summary="Close the matter of an event that could not be applied",
    responses={
        200: {"model": QuarantineDocument},
        **problems(errors.UnknownQuarantinedEvent, writes=True),
    },
)
async def resolve_quarantined(
    event_id: Annotated[int, Path(ge=1, le=2**53, examples=[17])],
    services: ServicesOf,
    body: NothingBody | None = None,  # noqa: ARG001 (an empty object is fine)
) -> Response:
    """Brings its pool in Redis back to what SQL says, and notes that nothing else is left to do.

    The pool stays paused: look at it, then resume it. Repeating it changes nothing more.
    """
    return answer(_quarantined(await services.reconciliation.resolve(event_id)))


@operations.get(
    "/refunds",
    summary="Payments that are due back",
    responses={200: {"model": RefundPage}, **problems(errors.InvalidRequest)},
)
async def refunds(page: Annotated[RefundPageRequest, Query()], services: ServicesOf) -> Response:
    """They came after the hold had ended and could not be served. Oldest first."""
    rows = await services.queries.refunds(page.after, page.limit, settled=page.settled)
    next_after = rows[-1].id if len(rows) == page.limit else None
    return answer({"items": [_refund(row) for row in rows], "next_after": next_after})


@operations.post(
    "/refunds/{refund_id}/settle",
    summary="Note that a payment went back",
    responses={
        200: {"model": RefundDocument, "headers": REPLAYED},
        **problems(errors.UnknownRefund, errors.RefundSettled, writes=True),
    },
)
async def settle_refund(
    refund_id: Annotated[int, Path(ge=1, le=2**53, examples=[17])],
    body: SettleRequest,
    services: ServicesOf,
    principal: PrincipalOf,
) -> Response:
    """Once. Repeating it with the same reference changes nothing."""
    settled = await services.queries.settle_refund(refund_id, body.reference, principal.name)
    if settled is None:
        raise errors.UnknownRefund(f"there is no refund {refund_id}", refund=refund_id)
    refund, changed = settled
    if refund.settled_reference != body.reference:
        raise errors.RefundSettled(refund=refund_id, reference=refund.settled_reference)
    return answer(_refund(refund), replayed=not changed)


@auditing.get(
    "/audit",
    summary="Who changed what",
    responses={200: {"model": AuditPage}, **problems(errors.InvalidRequest)},
)
async def audit(page: Annotated[AuditPageRequest, Query()], services: ServicesOf) -> Response:
    """Every change by a key of the role ops or admin, here or in the console; refusals, too.

    The newest first. Rows can only be added: the database refuses to change one.
    """
    if services.audit is None:
        raise errors.UnknownPath
    rows = await services.audit.page(page.after, page.limit, actor=page.actor, via=page.via)
    next_after = rows[-1].id if len(rows) == page.limit else None
    return answer({"items": [_change(row) for row in rows], "next_after": next_after})


@rebuilding.post(
    "/rebuild",
    summary="Build Redis anew from SQL",
    responses={200: {"model": RebuildDocument}, **problems(writes=True)},
)
async def rebuild(services: ServicesOf, body: RebuildRequest | None = None) -> Response:
    """Only says what would be restored unless `dry_run` is false.

    While it runs, requests are answered with `recovering`. Holds that were acknowledged stay.
    """
    if services.rebuild is None:
        raise errors.UnknownPath
    dry_run = body is None or body.dry_run
    return answer(await services.rebuild.run(dry_run=dry_run))


def _quarantined(row: QuarantinedEvent) -> dict[str, Any]:
    return {
        "id": row.id,
        "shard": row.shard,
        "generation": row.generation,
        "seq": row.seq,
        "kind": row.kind,
        "pool": row.pool,
        "payload": row.payload,
        "error": row.error,
        "pool_paused": row.pool_paused,
        "recorded_at": format_time(row.recorded_at_ms),
        "resolved_at": format_time(row.resolved_at_ms) if row.resolved_at_ms else None,
    }


def _change(row: RecordedChange) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": format_time(row.at_ms),
        "actor": row.actor,
        "role": row.role,
        "via": row.via,
        "address": row.address,
        "action": row.action,
        "subject": row.subject,
        "detail": row.detail,
        "status": row.status,
        "code": row.code or None,
    }


def _refund(row: StoredRefund) -> dict[str, Any]:
    return {
        "id": row.id,
        "reservation": row.reservation_id,
        "pool": row.pool,
        "buyer": row.buyer,
        "quantity": row.quantity,
        "payment_ref": row.payment_ref,
        "recorded_at": format_time(row.recorded_at_ms),
        "settled_at": format_time(row.settled_at_ms) if row.settled_at_ms else None,
        "settled_by": row.settled_by,
        "settled_reference": row.settled_reference,
    }
