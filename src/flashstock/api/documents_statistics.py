"""The shape of what is answered about statistics."""

from __future__ import annotations

from pydantic import BaseModel, Field

from flashstock.api.documents import Time, Units
from flashstock.statistics.queries import Grain


class HoldLifeDocument(BaseModel):
    """How long the holds lasted that ended here. Percentiles are within 6.25 %."""

    ended: Units
    mean_ms: float | None
    p50_ms: float | None
    p90_ms: float | None


class GroupsDocument(BaseModel):
    """What became of groups, in a pool that sells to them."""

    opened: Units
    formed: Units
    failed: Units


class FunnelDocument(BaseModel):
    """What became of requests. Counts are of reservations, ``*_units`` of units."""

    requested: Units = Field(description="`held` and `refused` together.")
    refused: Units = Field(
        description="As API processes counted: one that is killed takes up to ten seconds with it."
    )
    refused_by_reason: dict[str, int]
    held: Units
    held_units: Units
    paid: Units
    paid_units: Units
    paid_late: Units = Field(description="Of the paid ones, those whose hold had run out.")
    expired: Units
    expired_units: Units
    cancelled: Units
    cancelled_units: Units
    revoked: Units
    revoked_units: Units
    returned_units: Units
    refunds_due: Units
    refunds_due_units: Units
    refunded: Units = Field(description="Paid seats whose group failed, or that were left.")
    refunded_units: Units
    groups: GroupsDocument
    hold_life: HoldLifeDocument


class FunnelBucketDocument(FunnelDocument):
    at: Time = Field(description="Where the bucket begins.")


class StockAtDocument(BaseModel):
    """The counters at the end of the time asked for, as the journal has them."""

    total: int
    held: int
    sold: int
    locked: int
    left: int = Field(description="Neither held nor sold.")
    sell_through: float | None = Field(description="Sold, as a share of all.")


class StatisticsDocument(BaseModel):
    """A pool from the minute of ``from`` up to, and without, that of ``to``."""

    pool: str
    by: Grain
    total: FunnelDocument
    stock: StockAtDocument
    buckets: list[FunnelBucketDocument] = Field(
        description="In order of time; without those in which nothing happened; none by `total`."
    )


class CampaignItemStatistics(BaseModel):
    item: int
    pool: str
    total: FunnelDocument
    stock: StockAtDocument


class CampaignStatisticsDocument(BaseModel):
    """A campaign's items, each by itself and all together."""

    code: str
    by: Grain
    total: FunnelDocument
    stock: StockAtDocument
    buckets: list[FunnelBucketDocument]
    items: list[CampaignItemStatistics]
