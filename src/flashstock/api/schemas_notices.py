"""What a caller may send about webhooks, warnings and hints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from flashstock.api.schemas import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, Body, NumberedPageRequest
from flashstock.model.ids import POOL_ID_PATTERN
from flashstock.model.rules import SKU_LENGTH_MAX
from flashstock.notices.hints import COVER_DAYS_MAX, WINDOW_DAYS_MAX, WINDOW_MINUTES_MAX
from flashstock.notices.sender import URL_LENGTH_MAX
from flashstock.notices.topics import TOPIC_LENGTH_MAX, WANTED_PATTERN
from flashstock.notices.warnings import WarningKind
from flashstock.notices.webhooks import WEBHOOK_ID_PATTERN

TOPICS_MAX = 50

Topic = Annotated[
    str,
    Field(
        max_length=TOPIC_LENGTH_MAX,
        pattern=WANTED_PATTERN,
        examples=["warning.raised"],
        description="A topic, a family of them (`warning.*`), or everything (`*`).",
    ),
]


class WebhookRequest(Body):
    """Where to send what."""

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=URL_LENGTH_MAX,
            examples=["https://shop.example/hooks/flashstock"],
            description="An `https` URL with a public address.",
        ),
    ]
    topics: Annotated[list[Topic], Field(min_length=1, max_length=TOPICS_MAX)]


class DeliveryPageRequest(NumberedPageRequest):
    """Which deliveries to list."""

    webhook: Annotated[str, Field(pattern=WEBHOOK_ID_PATTERN)] | None = None
    state: Literal["pending", "delivered", "dead"] | None = None


class WarningPageRequest(NumberedPageRequest):
    """Which warnings to list."""

    kind: WarningKind | None = None
    state: Literal["raised", "cleared", "all"] = "raised"


class PurchaseHintRequest(BaseModel):
    """What the suggestion is worked out from."""

    model_config = ConfigDict(extra="forbid")

    window_days: Annotated[int, Field(ge=1, le=WINDOW_DAYS_MAX)] = 28
    cover_days: Annotated[int, Field(ge=0, le=COVER_DAYS_MAX)] = 14
    after: Annotated[str, Field(max_length=SKU_LENGTH_MAX)] = Field(
        default="", description="The last SKU of the page before."
    )
    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT


class ForecastRequest(BaseModel):
    """Of which pool, and from the sales of how long."""

    model_config = ConfigDict(extra="forbid")

    pool: Annotated[str, Field(pattern=POOL_ID_PATTERN, examples=["campaign-1"])]
    window_minutes: Annotated[int, Field(ge=1, le=WINDOW_MINUTES_MAX)] = 15
