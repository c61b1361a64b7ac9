"""Statistics of pools and campaigns: the funnel over time, and what is left."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies import format_time
from flashstock.api.documents_statistics import CampaignStatisticsDocument, StatisticsDocument
from flashstock.api.notice_routing import NoticesOf
from flashstock.api.notice_services import NoticeServices
from flashstock.api.openapi import problems
from flashstock.api.routes.pools import PoolIdOf
from flashstock.api.routing import OpsRoute, ServicesOf, answer
from flashstock.api.schemas import Time
from flashstock.errors import InvalidRequest, UnknownPath
from flashstock.model.rules import TIME_MS_MAX
from flashstock.statistics.queries import Bucket, Grain, Report, StockAt

statistics = APIRouter(prefix="/v1/statistics", tags=["statistics"], route_class=OpsRoute)


class StatisticsRequest(BaseModel):
    """Of which time, and by what."""

    model_config = ConfigDict(extra="forbid")

    from_: Time | None = Field(
        default=None, alias="from", description="From the very beginning by default."
    )
    to: Time | None = Field(default=None, description="Until now by default.")
    by: Grain = Grain.TOTAL

    def span(self, now_ms: int) -> tuple[int, int]:
        """(from, to) in ms. Raises ``InvalidRequest`` where it ends before it begins."""
        from_ms = self.from_ or 0
        to_ms = min(now_ms + 60_000, TIME_MS_MAX) if self.to is None else self.to
        if self.to is not None and from_ms > to_ms:
            problem = "must not be earlier than from"
            raise InvalidRequest(f"to: {problem}", errors=[{"field": "to", "problem": problem}])
        return from_ms, to_ms


@statistics.get(
    "/campaigns/{code}",
    summary="What became of a campaign",
    responses={
        200: {"model": CampaignStatisticsDocument},
        **problems(errors.UnknownCampaign, errors.InvalidRequest),
    },
)
async def campaign_statistics(
    code: Annotated[str, Path(min_length=1, max_length=64, examples=["cmp-1"])],
    asked: Annotated[StatisticsRequest, Query()],
    services: ServicesOf,
    notices: NoticesOf,
) -> Response:
    """Its items each by itself, and all together; from the journal, some seconds behind."""
    items = await notices.campaign_pools(code)
    from_ms, to_ms = asked.span(_now_ms(services))
    pools = sorted({pool for _, pool in items})
    together = await notices.statistics.together(pools, from_ms, to_ms, asked.by)
    document = {
        "code": code,
        **_report(together, asked.by),
        "items": [
            {"item": item, "pool": pool, **await _item(notices, pool, from_ms, to_ms)}
            for item, pool in items
        ],
    }
    return answer(document)


@statistics.get(
    "/{pool}",
    summary="What became of a pool's units",
    responses={
        200: {"model": StatisticsDocument},
        **problems(errors.UnknownPool, errors.InvalidRequest),
    },
)
async def pool_statistics(
    pool: PoolIdOf,
    asked: Annotated[StatisticsRequest, Query()],
    services: ServicesOf,
    notices: NoticesOf,
) -> Response:
    """From the journal, some seconds behind. At most 1,500 buckets."""
    from_ms, to_ms = asked.span(_now_ms(services))
    report = await notices.statistics.pool(pool, from_ms, to_ms, asked.by)
    return answer({"pool": pool, **_report(report, asked.by)})


async def _item(notices: NoticeServices, pool: str, from_ms: int, to_ms: int) -> dict[str, Any]:
    report = await notices.statistics.together([pool], from_ms, to_ms, Grain.TOTAL)
    return {"total": funnel_body(report.total), "stock": stock_body(report.stock)}


def _report(report: Report, by: Grain) -> dict[str, Any]:
    return {
        "by": by.value,
        "total": funnel_body(report.total),
        "stock": stock_body(report.stock),
        "buckets": [
            {"at": format_time(bucket.at_ms), **funnel_body(bucket)} for bucket in report.buckets
        ],
    }


def funnel_body(bucket: Bucket) -> dict[str, Any]:
    """The sums of a time."""
    counts = bucket.counts
    return {
        "requested": bucket.requested,
        "refused": bucket.refused.total(),
        "refused_by_reason": dict(sorted(bucket.refused.items())),
        "held": counts["held_count"],
        "held_units": counts["held_units"],
        "paid": counts["paid_count"],
        "paid_units": counts["paid_units"],
        "paid_late": counts["paid_late_count"],
        "expired": counts["expired_count"],
        "expired_units": counts["expired_units"],
        "cancelled": counts["cancelled_count"],
        "cancelled_units": counts["cancelled_units"],
        "revoked": counts["revoked_count"],
        "revoked_units": counts["revoked_units"],
        "returned_units": counts["returned_units"],
        "refunds_due": counts["refund_due_count"],
        "refunds_due_units": counts["refund_due_units"],
        "refunded": counts["refunded_count"],
        "refunded_units": counts["refunded_units"],
        "groups": {
            "opened": counts["groups_opened"],
            "formed": counts["groups_formed"],
            "failed": counts["groups_failed"],
        },
        "hold_life": {
            "ended": counts["lives_count"],
            "mean_ms": bucket.life_mean_ms,
            "p50_ms": bucket.life_ms(0.5),
            "p90_ms": bucket.life_ms(0.9),
        },
    }


def stock_body(stock: StockAt) -> dict[str, Any]:
    """The counters at one moment."""
    return {
        "total": stock.total,
        "held": stock.held,
        "sold": stock.sold,
        "locked": stock.locked,
        "left": stock.left,
        "sell_through": stock.sell_through,
    }


def _now_ms(services: ServicesOf) -> int:
    if services.stock is None:
        raise UnknownPath
    return services.stock.clock()
