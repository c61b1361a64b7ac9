"""What a caller may send about campaigns: strict types, known names, bounds on everything."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flashstock.api.schemas import (
    CURRENCY_PATTERN,
    NO_CONTROL_CHARACTERS,
    PAGE_LIMIT_DEFAULT,
    PAGE_LIMIT_MAX,
    Body,
    Channel,
    HoldSeconds,
    NumberedPageRequest,
    PaymentRef,
    Time,
)
from flashstock.api.schemas_groups import GroupBuyRequest
from flashstock.api.schemas_pools import WaveRequest
from flashstock.api.schemas_stock import (
    PRICE_MINOR_MAX,
    TITLE_LENGTH_MAX,
    BookSku,
    LocationCode,
    Reason,
)
from flashstock.campaigns import terms
from flashstock.model import eligibility, rules
from flashstock.model.states import DeductMode

NAME_LENGTH_MAX: Final = 200
REVISION_MAX: Final = 1_000_000
COMPONENT_QUANTITY_MAX: Final = 1_000
ORDER_NO_PATTERN: Final = r"^[0-9]{1,32}$"
_ORDER_NO_OR_NOTHING: Final = r"^[0-9]{0,32}$"
_CODE_OR_NOTHING: Final = r"^[2-9A-HJ-NP-Z]{0,8}$"
_FLIGHT_OR_NOTHING: Final = r"^([0-9]{1,13}/[^\x00-\x1f\x7f-\x9f]{1,400})?$"
_NO_CONTROLS_OR_NOTHING: Final = NO_CONTROL_CHARACTERS.replace("+$", "*$")

PriceMinor = Annotated[int, Field(ge=1, le=PRICE_MINOR_MAX, examples=[1999])]
ItemQuantity = Annotated[int, Field(ge=1, le=rules.POOL_QUANTITY_MAX, examples=[100])]
Revision = Annotated[int, Field(ge=1, le=REVISION_MAX, examples=[1])]


class GiftRequest(Body):
    """Gifts of one tier: one for each paid order of the item, while they last."""

    sku: BookSku
    quantity: ItemQuantity
    tier: Annotated[int, Field(ge=1, le=terms.GIFT_TIERS_MAX)] = Field(
        default=1, description="Tier 1 is given first; when it is gone, the next one."
    )


class ItemRequest(Body):
    """A SKU or a bundle, and how much of it is set aside in all."""

    item: Annotated[int, Field(ge=1, le=terms.ITEM_NUMBER_MAX)] | None = Field(
        default=None,
        description="The number it keeps for ever; its place in the list unless told otherwise.",
    )
    sku: BookSku
    quantity: ItemQuantity
    price_minor: PriceMinor | None = Field(
        default=None,
        description="The final price, in the currency's smallest unit; the SKU's own by default.",
    )
    currency: Annotated[str, Field(pattern=CURRENCY_PATTERN)] | None = None
    title: (
        Annotated[
            str, Field(min_length=1, max_length=TITLE_LENGTH_MAX, pattern=NO_CONTROL_CHARACTERS)
        ]
        | None
    ) = None
    presale: bool = Field(
        default=False, description="Sold ahead, from virtual stock: shipped when goods have come."
    )
    deposit_minor: Annotated[int, Field(ge=0, le=PRICE_MINOR_MAX)] = Field(
        default=0, description="Of a presale: what is paid at once; the rest is the balance."
    )
    waves: Annotated[list[WaveRequest], Field(max_length=rules.WAVES_MAX)] = Field(
        default=[], description="Units of `quantity` that are withheld until a moment."
    )
    gifts: Annotated[list[GiftRequest], Field(max_length=terms.GIFT_TIERS_MAX)] = Field(
        default=[], description="One for each paid order, while they last."
    )
    group_buy: GroupBuyRequest | None = Field(
        default=None, description="Sells to groups only, by these rules; to anyone by default."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if sum(wave.quantity for wave in self.waves) > self.quantity:
            raise ValueError("waves: they release more units than the item has")
        if len({wave.at for wave in self.waves}) < len(self.waves):
            raise ValueError("waves: two of them have the same time; add them up")
        if len({gift.tier for gift in self.gifts}) < len(self.gifts):
            raise ValueError("gifts: each tier has one SKU")
        if self.deposit_minor and not self.presale:
            raise ValueError("deposit_minor is for a presale")
        if self.price_minor is not None and self.deposit_minor > self.price_minor:
            raise ValueError("deposit_minor must not be more than price_minor")
        if self.group_buy is not None and (self.presale or self.gifts):
            raise ValueError("group_buy: goes with neither a presale nor gifts")
        return self

    def item_as(self, number: int) -> terms.Item:
        """The item it asks for."""
        waves = sorted(self.waves, key=lambda wave: wave.at)
        gifts = sorted(self.gifts, key=lambda gift: gift.tier)
        return terms.Item(
            number=number,
            sku=self.sku,
            quantity=self.quantity,
            price_minor=self.price_minor or 0,
            currency=self.currency or "",
            title=self.title or "",
            presale=self.presale,
            deposit_minor=self.deposit_minor,
            waves=tuple(rules.Wave(wave.at, wave.quantity) for wave in waves),
            gifts=tuple(terms.Gift(gift.sku, gift.quantity, gift.tier) for gift in gifts),
            group_buy=self.group_buy.rules().text if self.group_buy is not None else "",
        )


class CampaignRequest(Body):
    """Everything a revision says."""

    name: Annotated[
        str, Field(min_length=1, max_length=NAME_LENGTH_MAX, pattern=NO_CONTROL_CHARACTERS)
    ]
    starts_at: Time
    ends_at: Time
    items: Annotated[list[ItemRequest], Field(min_length=1, max_length=terms.ITEMS_MAX)]
    channels: Annotated[list[Channel], Field(max_length=eligibility.CHANNELS_MAX)] = Field(
        default=[], description="Through which channels, as the caller `attests`; all by default."
    )
    per_buyer_limit: Annotated[int, Field(ge=1, le=rules.POOL_QUANTITY_MAX)] | None = None
    limit_across_items: bool = Field(
        default=False, description="Whether the limit counts over all items together."
    )
    audience: Annotated[str, Field(pattern=eligibility.AUDIENCE_PATTERN)] | None = Field(
        default=None,
        description="Who may buy: `new` buyers, `named` ones, or buyers of a level and above"
        " (`level:3`), as the caller `attests`; everyone by default.",
    )
    deduct: Annotated[DeductMode, Field(strict=False)] = DeductMode.HOLD
    hold_seconds: HoldSeconds = rules.HOLD_SECONDS_DEFAULT
    locations: Annotated[list[LocationCode], Field(max_length=terms.PLACES_MAX)] = Field(
        default=[],
        description="Where stock is set aside, in this order; everywhere by priority by default.",
    )

    @field_validator("channels", "locations", mode="after")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("must name each once")
        return names

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_at <= self.starts_at:
            raise ValueError("ends_at must be later than starts_at")
        if any(wave.at >= self.ends_at for item in self.items for wave in item.waves):
            raise ValueError("items: a wave comes when the campaign has ended")
        numbers = [item.item or place for place, item in enumerate(self.items, start=1)]
        if len(set(numbers)) < len(numbers):
            raise ValueError("items: two of them have the same number")
        to_groups = any(item.group_buy is not None for item in self.items)
        if to_groups and self.deduct is not DeductMode.HOLD:
            raise ValueError("items: group_buy has a deduct of its own; here it must be hold")
        return self

    def as_terms(self) -> terms.Terms:
        """What it asks for, defaults filled in."""
        return terms.Terms(
            name=self.name,
            starts_at_ms=self.starts_at,
            ends_at_ms=self.ends_at,
            items=tuple(
                item.item_as(item.item or place) for place, item in enumerate(self.items, start=1)
            ),
            channels=tuple(self.channels),
            per_buyer_limit=self.per_buyer_limit or 0,
            limit_across_items=self.limit_across_items,
            audience=self.audience or "",
            deduct=self.deduct,
            hold_ms=self.hold_seconds * 1_000,
            places=tuple(self.locations),
        )


class CampaignEditRequest(CampaignRequest):
    """A new revision of a campaign. It replaces the one in force when it is approved."""

    revision: Revision = Field(description="The newest revision that the editor has seen.")


class RevisionRequest(Body):
    """Which revision is meant: the newest one."""

    revision: Revision


class RejectRequest(RevisionRequest):
    reason: Reason = ""


class AddRequest(Body):
    """Units to set aside on top."""

    quantity: ItemQuantity


class ComponentRequest(Body):
    sku: BookSku
    quantity: Annotated[int, Field(ge=1, le=COMPONENT_QUANTITY_MAX, examples=[2])]


class BundleRequest(Body):
    """A SKU that is sold as one and made of others. What it is made of never changes."""

    sku: BookSku
    components: Annotated[
        list[ComponentRequest], Field(min_length=1, max_length=terms.COMPONENTS_MAX)
    ]

    @field_validator("components", mode="after")
    @classmethod
    def _each_once(cls, components: list[ComponentRequest]) -> list[ComponentRequest]:
        if len({component.sku for component in components}) < len(components):
            raise ValueError("must name each SKU once")
        return components


class BalanceRequest(Body):
    """The second payment of a presale order."""

    payment_ref: PaymentRef


class RetryRequest(Body):
    """A command of the book that waits for a person."""

    command: Annotated[str, Field(min_length=1, max_length=400, pattern=NO_CONTROL_CHARACTERS)] = (
        Field(description="Its `id`.")
    )


class _Page(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT


class CampaignPageRequest(_Page):
    """Which campaigns to list."""

    after: Annotated[str, Field(pattern=_CODE_OR_NOTHING)] = ""
    status: terms.Status | None = Field(
        default=None, description="What is written down of it; time may have gone further."
    )


class StepPageRequest(NumberedPageRequest):
    """Which steps to list."""


class BundlePageRequest(_Page):
    after: Annotated[str, Field(max_length=128, pattern=_NO_CONTROLS_OR_NOTHING)] = ""


class GiftPageRequest(_Page):
    after: Annotated[str, Field(pattern=_ORDER_NO_OR_NOTHING)] = ""
    order_no: Annotated[str, Field(pattern=ORDER_NO_PATTERN)] | None = None


class FlightPageRequest(_Page):
    after: Annotated[str, Field(pattern=_FLIGHT_OR_NOTHING)] = Field(
        default="", description="`next_after` of the page before."
    )


class MomentRequest(BaseModel):
    """As of when."""

    model_config = ConfigDict(extra="forbid")

    at: Time | None = Field(default=None, description="Now, unless told otherwise.")
