"""The shape of what is answered about webhooks, warnings and hints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from flashstock.api.documents import Time, Units
from flashstock.notices.warnings import WarningKind


class WebhookDocument(BaseModel):
    """An endpoint, without its secret."""

    id: str = Field(examples=["wh_0123456789abcdef"])
    url: str
    topics: list[str]
    enabled: bool
    disabled_reason: str | None
    created_at: Time
    updated_at: Time


class NewWebhookDocument(WebhookDocument):
    """The only time the secret is shown."""

    secret: str = Field(examples=["whsec_…"])


class WebhookList(BaseModel):
    items: list[WebhookDocument]


class DeliveryDocument(BaseModel):
    """One event for one endpoint. ``next_try_at`` is null once it is delivered, or dead."""

    id: int
    webhook: str
    event_id: str = Field(description="`webhook-id`: the same at every attempt.")
    topic: str
    state: Literal["pending", "delivered", "dead"]
    attempts: int = Field(ge=0)
    status_code: int | None = Field(description="What the last attempt was answered, if it was.")
    problem: str | None
    created_at: Time
    tried_at: Time | None
    next_try_at: Time | None


class DeliveryPage(BaseModel):
    items: list[DeliveryDocument]
    next_after: int | None


class WarningDocument(BaseModel):
    """Something that is wrong, or was. ``detail`` is as of when it was raised."""

    id: int
    kind: WarningKind
    subject: str
    detail: dict[str, Any]
    raised_at: Time
    cleared_at: Time | None


class WarningPage(BaseModel):
    items: list[WarningDocument]
    next_after: int | None


class PurchaseHintDocument(BaseModel):
    """``suggested`` is what lasts ``lead_time_days + cover_days`` at ``daily_sales``, rounded up,
    plus ``safety_stock``, less ``available`` and ``in_transit``; never below 0.
    """

    sku: str
    sold: Units = Field(description="Units sold in the window, less what came back to a pool.")
    daily_sales: float
    lead_time_days: int
    cover_days: int
    safety_stock: Units
    available: Units
    in_transit: Units
    suggested: Units


class PurchaseHintPage(BaseModel):
    """``next_after`` is null on the last page."""

    window_days: int
    items: list[PurchaseHintDocument]
    next_after: str | None


class ForecastDocument(BaseModel):
    """When a pool will be sold out at the rate of the window; null where it never will be."""

    pool: str
    at: Time
    window_minutes: int
    since: Time = Field(description="When the window really began: of a young pool, later.")
    sold: int = Field(description="Units sold in the window, less returns.")
    sold_per_hour: float
    left: Units = Field(description="Units that can still be sold: held ones included.")
    sold_out_at: Time | None
