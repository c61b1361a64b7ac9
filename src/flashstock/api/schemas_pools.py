"""What may be said of a pool: what it is made with, and how its units are changed."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from flashstock.api.schemas import (
    Body,
    Channel,
    Delta,
    HoldSeconds,
    PoolId,
    PoolQuantity,
    Sku,
    Time,
)
from flashstock.api.schemas_groups import GroupBuyRequest
from flashstock.model import eligibility, rules
from flashstock.model.states import DeductMode, Durability


class WaveRequest(Body):
    """Units that are withheld until ``at``."""

    at: Time
    quantity: Annotated[int, Field(ge=1, le=rules.POOL_QUANTITY_MAX, examples=[100])]


class PoolRequest(Body):
    """A pool to create. Repeating the request with the same settings changes nothing."""

    id: PoolId
    sku: Sku
    quantity: PoolQuantity
    per_buyer_limit: Annotated[int, Field(ge=1, le=rules.POOL_QUANTITY_MAX)] | None = None
    hold_seconds: HoldSeconds | None = Field(
        default=None, description=f"How long a hold lasts; {rules.HOLD_SECONDS_DEFAULT} by default."
    )
    starts_at: Time | None = None
    ends_at: Time | None = None
    durability: Annotated[Durability, Field(strict=False)] | None = Field(
        default=None,
        description="When a hold is acknowledged: once it is committed in SQL (`ledger`, the"
        " default), or once the script has run (`fast`).",
    )
    waves: Annotated[list[WaveRequest], Field(max_length=rules.WAVES_MAX)] | None = None
    audience: Annotated[str, Field(pattern=eligibility.AUDIENCE_PATTERN)] | None = Field(
        default=None,
        description="Who may buy: `new` buyers, `named` ones, or buyers of a level and above"
        " (`level:3`), as the caller `attests`; everyone by default.",
    )
    channels: Annotated[list[Channel], Field(max_length=eligibility.CHANNELS_MAX)] | None = Field(
        default=None,
        description="Through which channels, as the caller `attests`; all by default.",
    )
    deduct: Annotated[DeductMode, Field(strict=False)] | None = Field(
        default=None,
        description="When units are taken: at the reservation until its deadline (`hold`, the"
        " default), at the reservation until somebody cancels it (`order`), or at the payment, if"
        " some are left (`payment`).",
    )
    group_buy: GroupBuyRequest | None = Field(
        default=None, description="Sells to groups only, by these rules; to anyone by default."
    )

    @field_validator("channels", mode="after")
    @classmethod
    def _each_once(cls, channels: list[str] | None) -> list[str] | None:
        if channels is not None and len(set(channels)) < len(channels):
            raise ValueError("must name each channel once")
        return channels

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValueError("ends_at must be later than starts_at")
        waves = self.waves or []
        if len({wave.at for wave in waves}) < len(waves):
            raise ValueError("waves: two of them have the same time; add them up")
        if self.ends_at is not None and any(wave.at >= self.ends_at for wave in waves):
            raise ValueError("waves: one comes when the sale has ended")
        if sum(wave.quantity for wave in waves) > self.quantity:
            raise ValueError("waves: they release more units than the pool has")
        if self.group_buy is not None and self.deduct not in (None, DeductMode.HOLD):
            raise ValueError("group_buy: has a deduct of its own; the pool's must be hold")
        return self

    def pool_rules(self) -> rules.PoolRules:
        """The rules it asks for, defaults filled in, waves in order of time."""
        seconds = self.hold_seconds or rules.HOLD_SECONDS_DEFAULT
        waves = sorted(self.waves or [], key=lambda wave: wave.at)
        return rules.PoolRules(
            sku=self.sku,
            per_buyer_limit=self.per_buyer_limit or 0,
            hold_ms=seconds * 1_000,
            starts_at_ms=self.starts_at or 0,
            ends_at_ms=self.ends_at or 0,
            durability=self.durability or Durability.LEDGER,
            waves=tuple(rules.Wave(wave.at, wave.quantity) for wave in waves),
            audience=self.audience or "",
            channels=",".join(self.channels or ()),
            deduct=self.deduct or DeductMode.HOLD,
            group_buy=self.group_buy.rules().text if self.group_buy is not None else "",
        )


class AdjustRequest(Body):
    """Units to add (or, negative, to take back), and units to lock (or unlock)."""

    delta: Annotated[Delta, Field(examples=[50])] = 0
    lock_delta: Annotated[Delta, Field(examples=[0])] = 0

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.delta and not self.lock_delta:
            raise ValueError("delta or lock_delta must be other than 0")
        return self
