"""Proof, and what needs a person: reconciliation, quarantine, refunds."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from flashstock.api.schemas import SettleRequest
from flashstock.console.routing import Asked, Done, action, page
from flashstock.console.sessions import PATH
from flashstock.errors import RefundSettled, UnknownRefund

PAGE_ROWS: Final = 50
INVARIANTS: Final = {
    "pools_balance": "In Redis, available + held + sold + locked = total, in every pool",
    "nothing_oversold": "No pool has promised more than it has",
    "nothing_lost": "Redis knows every hold that SQL acknowledges",
    "counters_are_sums": "In SQL, every pool's counters are the sums of its reservations",
    "stores_agree": "Redis and SQL agree, events in flight taken into account",
    "nothing_in_quarantine": "No event waits in quarantine",
}


async def reconciliation(asked: Asked) -> Response:
    """What the service's own watch found last; ``compare=now`` reads everything anew."""
    is_full = asked.wanted("compare") == "now"
    reconciler = asked.services.reconciliation
    report: dict[str, Any] | None
    if is_full:
        report = await reconciler.report()
        asked.services.proof_watch.found(report)
    else:
        report = await reconciler.last_round()
    return asked.render(
        "reconciliation.html", report=report, is_full=is_full, invariants=INVARIANTS, repair=None
    )


async def preview(asked: Asked) -> Response:
    """What a repair would write. Nothing is written."""
    found = await asked.services.reconciliation.repair(dry_run=True)
    return asked.render(
        "reconciliation.html",
        report=await asked.services.reconciliation.last_round(),
        is_full=False,
        invariants=INVARIANTS,
        repair=found,
    )


async def repair(asked: Asked) -> Done:
    """Bring Redis back to what SQL says."""
    found = await asked.services.reconciliation.repair(dry_run=False)
    return Done(
        f"{PATH}/reconciliation?compare=now",
        f"Repaired {found['repaired']:,} of {len(found['pools']):,} pools that differed.",
    )


async def quarantine(asked: Asked) -> Response:
    """Events that contradict the ledger; their pools are paused."""
    after = asked.wanted_number("after")
    rows = await asked.services.queries.quarantined(after, PAGE_ROWS)
    next_after = rows[-1].id if len(rows) == PAGE_ROWS else None
    return asked.render("quarantine.html", rows=rows, next_after=next_after)


async def refunds(asked: Asked) -> Response:
    """Payments that are due back, or went back."""
    after, show = asked.wanted_number("after"), asked.wanted("show", "due")
    settled = {"due": False, "settled": True}.get(show)
    rows = await asked.services.queries.refunds(after, PAGE_ROWS, settled=settled)
    next_after = rows[-1].id if len(rows) == PAGE_ROWS else None
    return asked.render("refunds.html", rows=rows, show=show, next_after=next_after)


async def settle(asked: Asked) -> Done:
    """Note that a payment went back, once."""
    number = asked.number_in_path("refund")
    request = asked.validated(SettleRequest, {"reference": asked.field("reference")})
    settled = await asked.services.queries.settle_refund(
        number, request.reference, asked.principal.name
    )
    if settled is None:
        raise UnknownRefund(f"there is no refund {number}", refund=number)
    refund, changed = settled
    if refund.settled_reference != request.reference:
        raise RefundSettled(refund=number, reference=refund.settled_reference)
    said = "is noted as given back" if changed else "had been noted before: nothing changed"
    return Done(f"{PATH}/refunds", f"Refund {number} {said}.")


ROUTES = (
    page("/reconciliation", reconciliation),
    page("/reconciliation/preview", preview),
    action("/reconciliation/repair", repair),
    page("/quarantine", quarantine),
    page("/refunds", refunds),
    action("/refunds/{refund}/settle", settle),
)
