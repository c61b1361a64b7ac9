"""The shape of every answer, for the OpenAPI document (a test holds the answers against it)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flashstock.api.auth import Role
from flashstock.model.group_rules import GROUP_SIZE_MIN, GroupDeduct, GroupType
from flashstock.model.states import (
    DeductMode,
    Durability,
    GroupState,
    PoolState,
    ReservationState,
)

Time = Annotated[datetime, Field(examples=["2026-11-22T03:00:00.123Z"])]
Units = Annotated[int, Field(ge=0)]


class Problem(BaseModel):
    """RFC 9457. ``code`` is stable; the other members of a refusal say what a page needs."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:flashstock:problem:sold_out"])
    title: str
    status: int
    detail: str
    code: str = Field(examples=["sold_out"])


class FieldProblem(BaseModel):
    field: str
    problem: str


class NextPriceDocument(BaseModel):
    """The next tier, and how many more paid seats it takes."""

    seats: int = Field(ge=1)
    price_minor: Units
    missing: int = Field(ge=1)


class ProgressDocument(BaseModel):
    """How far a group is. `paid` seats are taken for good, `pending` ones until their deadlines."""

    state: GroupState
    size: int = Field(ge=2)
    paid: Units = Field(description="Of a failed group: those that are still to be given back.")
    pending: Units
    house: Units = Field(description="Seats that the house completed at the deadline.")
    missing: Units = Field(description="Paid seats that it still takes to form.")
    free_seats: Units = Field(description="Seats that can be taken now.")
    ends_at: Time
    time_left_ms: Units
    price_minor: Units | None = Field(
        description="Of a super group: the price that its paid seats have reached."
    )
    next_price: NextPriceDocument | None


class ReservationDocument(BaseModel):
    """One reservation; ``payment_ref``, ``order_no`` and ``returned`` once it is paid."""

    id: str = Field(examples=["campaign-1~Jx0yYv3mDq8Qe1aZ"])
    pool: str = Field(examples=["campaign-1"])
    buyer: str = Field(examples=["buyer-42"])
    quantity: int = Field(ge=1, examples=[1])
    state: ReservationState
    expires_at: Time | None = Field(
        description="When a hold ends by itself; null for one that somebody has to end. It never"
        " comes earlier than was told, but it may come later: a hold is extended, or gets the time"
        " of an outage back. What is `ordered` can be paid later too, if units are left."
    )
    receipt: str = Field(description="Signed by the service; proves the hold without a store.")
    group: str | None = Field(default=None, description="Of a seat: the group it is in.")
    group_now: ProgressDocument | None = Field(
        default=None, description="As the call that is answered has left its group, where known."
    )
    payment_ref: str | None = None
    order_no: str | None = None
    returned: Units | None = None


class TierDocument(BaseModel):
    """The price of everybody in a group in which at least so many seats are paid."""

    seats: int = Field(ge=1)
    price_minor: int = Field(ge=0)


class GroupBuyDocument(BaseModel):
    """How a pool sells to groups; null: no limit."""

    size: int = Field(ge=GROUP_SIZE_MIN)
    life_seconds: int
    type: GroupType
    deduct: GroupDeduct
    seats_per_buyer: int
    groups_per_buyer: int | None
    open_max: int | None
    house_max: int
    tiers: list[TierDocument]


class WaveDocument(BaseModel):
    at: Time
    quantity: Units


class PoolDocument(BaseModel):
    """A pool: ``available + held + sold + locked == total``, always."""

    id: str = Field(examples=["campaign-1"])
    sku: str = Field(examples=["85123A"])
    state: PoolState
    total: Units
    available: Units
    held: Units
    sold: Units
    locked: Units
    per_buyer_limit: int | None
    hold_seconds: int
    starts_at: Time | None
    ends_at: Time | None
    durability: Durability
    waves: list[WaveDocument]
    audience: str | None = Field(examples=["level:3"])
    channels: list[str]
    deduct: DeductMode
    group_buy: GroupBuyDocument | None = Field(
        description="Where it sells to groups only: by which rules."
    )


class PoolPage(BaseModel):
    """Pools as SQL has them, in order of their ids. ``next_after`` is null on the last page."""

    items: list[PoolDocument]
    next_after: str | None


class CartDocument(BaseModel):
    id: str
    buyer: str
    reservations: list[ReservationDocument]


class BatchItemDocument(BaseModel):
    """A reservation, or a problem; ``status`` is the HTTP status it would have had alone."""

    model_config = ConfigDict(extra="allow")

    status: int = Field(examples=[201])
    id: str | None = None
    code: str | None = None


class BatchDocument(BaseModel):
    """One answer for each item, in the same order."""

    items: list[BatchItemDocument]


class OutageDocument(BaseModel):
    """An outage whose time a recovery gave back: ``holds`` of them expire so much later."""

    began_at: Time
    ended_at: Time
    given_back_seconds: float
    holds: int


class ShardDocument(BaseModel):
    """How far SQL has followed the log. ``seq`` is null while Redis does not answer for it.

    ``outage`` is the last that was given back; null: in none of the last 32 recoveries.
    """

    shard: int
    state: Literal["open", "recovering"]
    generation: int
    outage: OutageDocument | None
    seq: int | None
    applied_seq: int
    lag_events: int | None


class ShardList(BaseModel):
    shards: list[ShardDocument]


class QuarantineDocument(BaseModel):
    """An event that contradicts what SQL says. Its pool is paused until someone has looked."""

    id: int
    shard: int
    generation: int
    seq: int
    kind: str
    pool: str
    payload: str
    error: str
    pool_paused: bool
    recorded_at: Time
    resolved_at: Time | None


class QuarantinePage(BaseModel):
    items: list[QuarantineDocument]
    next_after: int | None


class RefundDocument(BaseModel):
    """A payment that came too late to be served and is due back."""

    id: int
    reservation: str
    pool: str
    buyer: str
    quantity: int
    payment_ref: str
    recorded_at: Time
    settled_at: Time | None
    settled_by: str | None = Field(description="The API key that noted it.")
    settled_reference: str | None


class RefundPage(BaseModel):
    items: list[RefundDocument]
    next_after: int | None


class AuditedChangeDocument(BaseModel):
    """What somebody did, or was refused. `status` and `code` are those of the answer."""

    id: int
    at: Time
    actor: str = Field(description="The API key.", examples=["night-shift"])
    role: Literal["ops", "admin"]
    via: Literal["api", "console", "cli"]
    address: str = Field(description="As far as the socket says: a proxy's is the proxy's.")
    action: str = Field(examples=["POST /v1/pools/{pool}/pause"])
    subject: str = Field(examples=["/v1/pools/campaign-1/pause"])
    detail: str = Field(description="What was sent along, shortened.")
    status: int = Field(examples=[200])
    code: str | None = Field(examples=["insufficient_stock"])


class AuditPage(BaseModel):
    """The newest first. ``next_after`` is null on the last page."""

    items: list[AuditedChangeDocument]
    next_after: int | None


class ReconciliationDocument(BaseModel):
    """Redis, the log and SQL compared. ``ok`` says it all in one word."""

    model_config = ConfigDict(extra="allow")

    at: Time
    ok: bool
    pools_checked: int
    reservations_checked: int
    differences_count: int
    differences: list[dict[str, Any]]
    oversold: int
    lost: int
    lag_events: int
    invariants: dict[str, bool]
    shards: list[dict[str, Any]]


class RepairDocument(BaseModel):
    """What was written, or would be."""

    model_config = ConfigDict(extra="allow")

    dry_run: bool


class RebuildDocument(BaseModel):
    """What was restored from SQL, or would be, shard by shard."""

    dry_run: bool
    shards: list[dict[str, Any]]


class KeyDocument(BaseModel):
    """An API key, without the key: only its hash is stored."""

    name: str = Field(examples=["shop"])
    role: Role
    created_at: Time
    revoked_at: Time | None


class NewKeyDocument(KeyDocument):
    """The only time the key itself is shown."""

    key: str = Field(examples=["fsk_…"])


class KeyList(BaseModel):
    items: list[KeyDocument]


class HealthDocument(BaseModel):
    status: Literal["ok"]


class ReadyDocument(BaseModel):
    status: Literal["ready"]


class VersionDocument(BaseModel):
    name: Literal["flashstock"]
    version: str
