"""What is wrong at present, and what to do about stock."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies import format_time
from flashstock.api.documents_notices import ForecastDocument, PurchaseHintPage, WarningPage
from flashstock.api.notice_routing import NoticesOf
from flashstock.api.openapi import problems
from flashstock.api.routing import OpsRoute, answer
from flashstock.api.schemas_notices import (
    ForecastRequest,
    PurchaseHintRequest,
    WarningPageRequest,
)
from flashstock.notices.hints import Forecast
from flashstock.notices.warnings import RaisedWarning

warnings = APIRouter(prefix="/v1", tags=["warnings"], route_class=OpsRoute)

HOUR_MS = 3_600_000
_CLEARED = {"raised": False, "cleared": True, "all": None}


@warnings.get(
    "/warnings",
    summary="What is wrong at present",
    responses={200: {"model": WarningPage}, **problems(errors.InvalidRequest)},
)
async def list_warnings(
    page: Annotated[WarningPageRequest, Query()], notices: NoticesOf
) -> Response:
    """As the watcher found it last, at most some ten seconds ago. Oldest first."""
    rows = await notices.warnings.page(
        page.after, page.limit, kind=page.kind, cleared=_CLEARED[page.state]
    )
    next_after = rows[-1].id if len(rows) == page.limit else None
    return answer({"items": [_warning(row) for row in rows], "next_after": next_after})


@warnings.get(
    "/hints/purchases",
    summary="What to buy",
    responses={200: {"model": PurchaseHintPage}, **problems(errors.InvalidRequest)},
)
async def purchase_hints(
    page: Annotated[PurchaseHintRequest, Query()], notices: NoticesOf
) -> Response:
    """So that the stock of each SKU lasts its lead time and some days more. By SKU."""
    rows = await notices.hints.purchases(page.window_days, page.cover_days, page.after, page.limit)
    items = [
        {
            "sku": row.sku,
            "sold": row.sold,
            "daily_sales": row.daily_sales,
            "lead_time_days": row.lead_time_days,
            "cover_days": row.cover_days,
            "safety_stock": row.safety_stock,
            "available": row.available,
            "in_transit": row.in_transit,
            "suggested": row.suggested,
        }
        for row in rows
    ]
    next_after = rows[-1].sku if len(rows) == page.limit else None
    document = {"window_days": page.window_days, "items": items, "next_after": next_after}
    return answer(document)


@warnings.get(
    "/hints/forecast",
    summary="When a pool will be sold out",
    responses={
        200: {"model": ForecastDocument},
        **problems(errors.UnknownPool, errors.InvalidRequest),
    },
)
async def forecast(asked: Annotated[ForecastRequest, Query()], notices: NoticesOf) -> Response:
    """If it goes on selling as it did in the window. Held units count as left."""
    found = await notices.hints.forecast(asked.pool, asked.window_minutes)
    return answer(_forecast(found, asked.window_minutes))


def _warning(row: RaisedWarning) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "subject": row.subject,
        "detail": row.detail,
        "raised_at": format_time(row.raised_at_ms),
        "cleared_at": format_time(row.cleared_at_ms) if row.cleared_at_ms else None,
    }


def _forecast(found: Forecast, window_minutes: int) -> dict[str, Any]:
    elapsed_ms = found.at_ms - found.since_ms
    per_hour = found.sold * HOUR_MS / elapsed_ms if elapsed_ms else 0.0
    ends_ms = found.sold_out_at_ms
    return {
        "pool": found.pool,
        "at": format_time(found.at_ms),
        "window_minutes": window_minutes,
        "since": format_time(found.since_ms),
        "sold": found.sold,
        "sold_per_hour": round(per_hour, 3),
        "left": found.left,
        "sold_out_at": None if ends_ms is None else format_time(ends_ms),
    }
