"""What the service answers, typed. Members that a client does not know are passed over."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flashstock.client.group_answers import GroupBuy, GroupProgress
from flashstock.model.states import DeductMode, Durability, PoolState, ReservationState


class Wave(msgspec.Struct, frozen=True):
    """Units that are withheld until a moment."""

    at: datetime
    quantity: int


class Pool(msgspec.Struct, frozen=True):
    """A pool and where its units are: ``available + held + sold + locked = total``."""

    id: str
    state: PoolState
    total: int
    available: int
    held: int
    sold: int
    locked: int = 0
    sku: str = ""
    per_buyer_limit: int | None = None
    hold_seconds: int = 0
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    durability: Durability = Durability.LEDGER
    waves: tuple[Wave, ...] = ()
    audience: str | None = None
    channels: tuple[str, ...] = ()
    deduct: DeductMode = DeductMode.HOLD
    group_buy: GroupBuy | None = None


class PoolPage(msgspec.Struct, frozen=True):
    """Some pools, and where the next page begins."""

    items: tuple[Pool, ...]
    next_after: str | None


class PoolOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pool to open."""

    id: str
    sku: str
    quantity: int
    per_buyer_limit: int | None = None
    hold_seconds: int | None = None
    starts_at: datetime | None = None
    durability: Durability | None = None
    ends_at: datetime | None = None
    waves: tuple[Wave, ...] | None = None
    audience: str | None = None
    channels: tuple[str, ...] | None = None
    deduct: DeductMode | None = None
    group_buy: GroupBuy | None = None


class Attests(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the shop knows of a buyer, for pools that are not for everyone.

    ``named``: he is one of those named beforehand. ``channel``: through which he came.
    """

    new_buyer: bool = False
    named: bool = False
    level: int = 0
    channel: str | None = None


class Reservation(msgspec.Struct, frozen=True):
    """One reservation. ``expires_at`` says something while it is held, and may come later than was
    told, never earlier; ``returned`` (units of it that were brought back) says something once it
    is sold. ``receipt`` proves it where no store knows it.

    ``group`` is that of a seat; ``group_now`` is how the call that was answered has left it."""

    id: str
    pool: str
    buyer: str
    quantity: int
    state: ReservationState
    expires_at: datetime | None = None
    payment_ref: str | None = None
    order_no: str | None = None
    returned: int = 0
    receipt: str | None = None
    group: str | None = None
    group_now: GroupProgress | None = None


class Wish(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of many reservations that are asked for in one request, under a key of its own."""

    idempotency_key: str
    pool: str
    buyer: str
    quantity: int
    attests: Attests | None = None


class Cart(msgspec.Struct, frozen=True):
    """An admitted cart: one reservation per pool, the same pool's lines added up."""

    id: str
    buyer: str
    reservations: tuple[Reservation, ...]


class Line(msgspec.Struct, frozen=True):
    """A line of a cart to reserve."""

    pool: str
    quantity: int


class Refund(msgspec.Struct, frozen=True):
    """A payment that came too late to be served: it is on record to be paid back."""

    id: int
    reservation: str
    pool: str
    quantity: int
    payment_ref: str
    settled_reference: str | None = None


class RefundPage(msgspec.Struct, frozen=True):
    """Some refunds, and where the next page begins."""

    items: tuple[Refund, ...]
    next_after: int | None


class Reconciliation(msgspec.Struct, frozen=True):
    """The service's own proof: Redis, the log and SQL compared."""

    pools_checked: int
    reservations_checked: int
    differences_count: int
    lag_events: int
    oversold: int
    lost: int
    ok: bool
    differences: tuple[Any, ...] = ()
    invariants: dict[str, bool] = {}
