"""What the service answers about the stock book, campaigns and orders, typed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flashstock.client.answers import Wave


class StockLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of a movement to post. ``target``: where its kind knows several ways."""

    sku: str
    location: str
    quantity: int
    target: str | None = None


class CampaignItem(msgspec.Struct, frozen=True):
    """An item of a campaign to draft; its title and price are those of the SKU."""

    sku: str
    quantity: int


class CampaignOrder(msgspec.Struct, frozen=True):
    """A campaign to draft."""

    name: str
    starts_at: datetime
    ends_at: datetime
    items: tuple[CampaignItem, ...]
    locations: tuple[str, ...]
    hold_seconds: int


class ShelfCounters(msgspec.Struct, frozen=True):
    """A campaign's pool as SQL has it."""

    total: int
    available: int
    held: int
    sold: int
    locked: int


class Shelf(msgspec.Struct, frozen=True):
    """An item that is in force. ``counters`` is ``None`` while its pool is being made."""

    item: int
    sku: str
    pool: str
    counters: ShelfCounters | None
    in_flight: tuple[str, ...]


class Campaign(msgspec.Struct, frozen=True):
    """A campaign and its pools; times are the service's own."""

    code: str
    state: str
    created_at: datetime
    items: tuple[Shelf, ...] = ()


class PublicItem(msgspec.Struct, frozen=True):
    """What a page shows of an item, and the pool that it is reserved from."""

    item: int
    pool: str
    sku: str
    title: str
    price_minor: int
    available: int
    currency: str | None = None
    presale: bool = False
    deposit_minor: int = 0
    waves: tuple[Wave, ...] = ()


class PublicCampaign(msgspec.Struct, frozen=True):
    """What a shop's page needs; compare ``now``, not the visitor's clock, with the times."""

    code: str
    state: str
    name: str
    now: datetime
    starts_at: datetime
    ends_at: datetime
    items: tuple[PublicItem, ...]
    per_buyer_limit: int | None = None
    channels: tuple[str, ...] = ()
    audience: str | None = None


class Order(msgspec.Struct, frozen=True):
    """A paid order, in units of it. ``shipped`` is what ever left, ``returned`` came back."""

    order_no: str
    state: str
    pool: str
    quantity: int
    to_ship: int
    shipped: int
    returned: int


class OrderPage(msgspec.Struct, frozen=True):
    items: tuple[Order, ...]
    next_after: str | None


class OrderReturn(msgspec.Struct, frozen=True):
    """Units that come back; ``pending`` ones will without further doing."""

    number: int
    order_no: str
    state: str
    quantity: int


class Movement(msgspec.Struct, frozen=True):
    """A movement that was posted."""

    number: int
    kind: str


class Balance(msgspec.Struct, frozen=True):
    """Where the units of a SKU at one location are."""

    sku: str
    location: str
    on_hand: int
    available: int
    campaign: int
    unsellable: int
    committed: int


class BalancePage(msgspec.Struct, frozen=True):
    items: tuple[Balance, ...]
    next_after: str | None


class StockIdentity(msgspec.Struct, frozen=True):
    """The service's own proof of the stock book."""

    ok: bool
    deep: bool
    differences_count: int
    invariants: dict[str, bool] = {}
    differences: tuple[Any, ...] = ()


class ImportDone(msgspec.Struct, frozen=True):
    """What became of a file."""

    rows: int
