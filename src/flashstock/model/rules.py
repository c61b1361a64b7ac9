"""What a pool may be asked for, and the limits on everything (each bound has one home: here)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from flashstock.model.states import DeductMode, Durability, PoolState

QUANTITY_MAX: Final = 1_000_000
"""Units in one reservation, at most."""
POOL_QUANTITY_MAX: Final = 1_000_000_000
"""Units in one pool, at most; far below 2^53, so every counter is exact in Lua."""
HOLD_SECONDS_DEFAULT: Final = 900
HOLD_SECONDS_MAX: Final = 7 * 24 * 3600
BUYER_LENGTH_MAX: Final = 128
SKU_LENGTH_MAX: Final = 128
PAYMENT_REF_LENGTH_MAX: Final = 128
IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255
CART_LINES_MAX: Final = 1_200
BATCH_ITEMS_MAX: Final = 1_000
WAVES_MAX: Final = 100
TIME_MS_MAX: Final = 9_999_999_999_999
"""The last millisecond a 13-digit field holds (the year 2286)."""
NO_DEADLINE_MS: Final = TIME_MS_MAX
"""The deadline of a hold that lasts until somebody ends it; also in ``lua/include/record.lua``."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Units that leave ``locked`` for ``available`` at a set time."""

    at_ms: int
    quantity: int


@dataclass(frozen=True, slots=True)
class PoolRules:
    """What decides whether a pool sells. Times are ms since the epoch; 0 means no bound.

    ``per_buyer_limit`` 0 means none. It counts units held and confirmed together, over all pools
    of a group (``ids.limit_scope``). ``audience`` and ``channels`` are as in ``eligibility``; empty
    means everyone and all.
    """

    sku: str
    state: PoolState = PoolState.OPEN
    per_buyer_limit: int = 0
    hold_ms: int = HOLD_SECONDS_DEFAULT * 1000
    starts_at_ms: int = 0
    ends_at_ms: int = 0
    durability: Durability = Durability.LEDGER
    waves: tuple[Wave, ...] = field(default_factory=tuple)
    audience: str = ""
    channels: str = ""
    """Names with commas between."""
    deduct: DeductMode = DeductMode.HOLD
    group_buy: str = ""
    """``GroupRules.text`` where the pool sells to groups only, from its first day to its last."""

    @property
    def special(self) -> bool:
        """Is there any rule that few pools have? ``lua/configure.lua`` says so too."""
        few = self.audience or self.channels or self.group_buy
        return bool(few) or self.deduct is not DeductMode.HOLD


@dataclass(frozen=True, slots=True)
class PoolCounters:
    """Where a pool's units are. ``available + held + sold + locked == total``, always."""

    total: int = 0
    available: int = 0
    held: int = 0
    sold: int = 0
    locked: int = 0

    def balanced(self) -> bool:
        """Invariant 1: nothing negative, nothing missing."""
        parts = (self.available, self.held, self.sold, self.locked)
        return min(parts) >= 0 and sum(parts) == self.total
