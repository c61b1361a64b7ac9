"""What it takes for a revision to take effect: stock, and what each pool is told.

Everything here is written in the transaction that approves: stock of all items is set aside, or the
revision is not approved. The pools are told by the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.campaigns.bundles import needs_of
from flashstock.campaigns.gift_watch import watch_payments
from flashstock.campaigns.records import change_item
from flashstock.campaigns.tables import campaign_items, campaign_revisions
from flashstock.campaigns.terms import (
    GIFTS_ONLY,
    Campaign,
    Item,
    Revision,
    Terms,
    gift_pool_of,
    pool_of,
)
from flashstock.errors import CampaignItemFixed, InsufficientStock
from flashstock.ledger.tables import pools
from flashstock.model.events import encode_rules
from flashstock.model.rules import HOLD_SECONDS_MAX, PoolRules, Wave
from flashstock.model.states import PoolState
from flashstock.stockbook import pool_transfers
from flashstock.stockbook.pool_transfers import Wish

GIFT_HOLD_MS: Final = HOLD_SECONDS_MAX * 1_000
_OF_THE_POOL_ITSELF: Final = ("sku", "state")


class Effect:
    """One revision taking the place of another, or of nothing.

    Args:
        actor: who approved; stands in every movement and command.
        paused: whether the campaign is paused; its new pools then start paused.
    """

    def __init__(
        self,
        connection: AsyncConnection,
        campaign: Campaign,
        old: Revision | None,
        new: Revision,
        *,
        actor: str,
        at_ms: int,
        paused: bool,
    ) -> None:
        self._connection = connection
        self._code = campaign.code
        self._old = old
        self._new = new
        self._actor = actor
        self._at_ms = at_ms
        self._state = PoolState.PAUSED if paused else PoolState.OPEN

    async def take(self) -> None:
        """Set stock aside and put into the outbox what the pools must know.

        Raises:
            InsufficientStock: there is not enough, or buyers hold what should be taken back.
            CampaignItemFixed: an item would sell something else than it did.
            UnknownSku, UnknownLocation: nobody has told us of it.
        """
        new, old = self._new.terms, self._old.terms if self._old else None
        if old is not None and old.limit_across_items != new.limit_across_items:
            raise CampaignItemFixed("whether the limit counts across items can't change any more")
        needs = await needs_of(self._connection, [item.sku for item in new.items])
        before = {item.number: item for item in old.items} if old else {}
        for asked in new.items:
            item = replace(asked, needs=needs[asked.sku])
            earlier = before.pop(item.number, None)
            if earlier is None:
                await self._refuse_used_number(item)
                await self._open(item)
            else:
                item = replace(item, needs=earlier.needs)
                await self._change(earlier, item)
            changes = {"needs": _text(item.needs)}
            await change_item(
                self._connection, self._code, self._new.number, item.number, **changes
            )
        for item in before.values():
            await self._end(item)

    def _pool(self, item: Item, terms: Terms | None = None) -> str:
        across = (terms or self._new.terms).limit_across_items
        return pool_of(self._code, item.number, across_items=across)

    def _id(self, pool: str, verb: str) -> str:
        return f"campaign/{pool}/{self._new.number}/{verb}"

    async def _refuse_used_number(self, item: Item) -> None:
        """A pool that was closed stays closed, so its item can't come back."""
        same = (campaign_revisions.c.code == campaign_items.c.code) & (
            campaign_revisions.c.revision == campaign_items.c.revision
        )
        found = await self._connection.execute(
            select(campaign_items.c.revision)
            .join(campaign_revisions, same)
            .where(
                campaign_items.c.code == self._code,
                campaign_items.c.item == item.number,
                campaign_revisions.c.in_force_from_ms > 0,
            )
            .limit(1)
        )
        if found.first() is not None:
            raise CampaignItemFixed(
                f"item {item.number} was left out before; its number can't be used again",
                item=item.number,
            )

    async def _open(self, item: Item) -> None:
        pool = self._pool(item)
        rules = encode_rules(self._rules(item))
        await self._create(pool, rules)
        wish = Wish(
            pool,
            item.quantity,
            item.needs,
            self._new.terms.places,
            virtual=item.presale,
            locked=sum(wave.quantity for wave in item.waves),
        )
        await self._allocate(wish)
        await self._tell(pool, rules)
        await self._change_gifts(None, item)

    async def _change(self, old: Item, new: Item) -> None:
        if old.sku != new.sku or old.presale != new.presale:
            raise CampaignItemFixed(
                f"item {new.number} sells {old.sku!r}{' ahead' if old.presale else ''}",
                item=new.number,
            )
        if bool(old.group_buy) != bool(new.group_buy):
            sold = "to groups" if old.group_buy else "to single buyers"
            raise CampaignItemFixed(f"item {new.number} sells {sold}", item=new.number)
        pool = self._pool(new)
        rules = encode_rules(self._rules(new))
        told = {name: text for name, text in rules.items() if name not in _OF_THE_POOL_ITSELF}
        more = new.quantity - old.quantity - old.added
        if more > 0:
            withheld = self._to_come(new.waves) - self._to_come(old.waves)
            wish = Wish(
                pool,
                more,
                new.needs,
                self._new.terms.places,
                virtual=new.presale,
                locked=min(more, max(0, withheld)),
            )
            await self._allocate(wish)
        await self._tell(pool, told)
        if more < 0:
            await self._take_back(pool, -more, virtual=new.presale)
        await self._change_gifts(old, new)

    def _to_come(self, waves: tuple[Wave, ...]) -> int:
        return sum(wave.quantity for wave in waves if wave.at_ms > self._at_ms)

    async def _end(self, item: Item) -> None:
        assert self._old is not None, "only what was in force can end"
        await self._wind_down(self._pool(item, self._old.terms), virtual=item.presale)
        for gift in item.gifts:
            await self._wind_down(gift_pool_of(self._code, item.number, gift.tier), virtual=False)

    async def _change_gifts(self, old: Item | None, new: Item) -> None:
        if new.gifts:
            await watch_payments(self._connection, self._pool(new))
        before = {gift.tier: gift for gift in old.gifts} if old else {}
        for gift in new.gifts:
            pool = gift_pool_of(self._code, new.number, gift.tier)
            earlier = before.pop(gift.tier, None)
            if earlier is None:
                rules = encode_rules(PoolRules(gift.sku, hold_ms=GIFT_HOLD_MS, channels=GIFTS_ONLY))
                await self._create(pool, rules)
                await self._allocate(
                    Wish(pool, gift.quantity, {gift.sku: 1}, self._new.terms.places)
                )
                await self._tell(pool, rules)
            elif earlier.sku != gift.sku:
                raise CampaignItemFixed(
                    f"tier {gift.tier} of item {new.number} gives {earlier.sku!r}", item=new.number
                )
            elif gift.quantity > earlier.quantity:
                more = gift.quantity - earlier.quantity
                await self._allocate(Wish(pool, more, {gift.sku: 1}, self._new.terms.places))
            elif gift.quantity < earlier.quantity:
                await self._take_back(pool, earlier.quantity - gift.quantity, virtual=False)
        if before:
            raise CampaignItemFixed(
                f"tiers {sorted(before)} of item {new.number} can't be left out any more",
                item=new.number,
            )

    def _rules(self, item: Item) -> PoolRules:
        terms = self._new.terms
        return PoolRules(
            sku=item.sku,
            state=self._state,
            per_buyer_limit=terms.per_buyer_limit,
            hold_ms=terms.hold_ms,
            starts_at_ms=terms.starts_at_ms,
            ends_at_ms=terms.ends_at_ms,
            waves=item.waves,
            audience=terms.audience,
            channels=",".join(terms.channels),
            deduct=terms.deduct,
            group_buy=item.group_buy,
        )

    async def _create(self, pool: str, rules: Mapping[str, str]) -> None:
        await pool_transfers.create_pool(
            self._connection,
            self._id(pool, "create"),
            pool,
            rules,
            self._at_ms,
            actor=self._actor,
        )

    async def _allocate(self, wish: Wish) -> None:
        await pool_transfers.allocate(
            self._connection,
            self._id(wish.pool, "add"),
            wish,
            self._at_ms,
            actor=self._actor,
            reference=self._code,
        )

    async def _tell(self, pool: str, rules: Mapping[str, str]) -> None:
        await pool_transfers.set_rules(
            self._connection, self._id(pool, "rules"), pool, rules, self._at_ms, actor=self._actor
        )

    async def _take_back(self, pool: str, units: int, *, virtual: bool) -> None:
        await refuse_taking_from_buyers(self._connection, pool, units)
        await pool_transfers.take_back(
            self._connection,
            self._id(pool, "take"),
            pool,
            units,
            self._at_ms,
            virtual=virtual,
            actor=self._actor,
        )

    async def _wind_down(self, pool: str, *, virtual: bool) -> None:
        await pool_transfers.wind_down(
            self._connection,
            self._id(pool, "end"),
            pool,
            self._at_ms,
            early=True,
            virtual=virtual,
            actor=self._actor,
        )


async def refuse_taking_from_buyers(connection: AsyncConnection, pool: str, units: int) -> None:
    """Stock is never lowered below what buyers hold and have bought.

    As SQL has it, a moment behind: what a buyer holds at the instant itself is the pool's
    business, and stays.
    """
    row = (await connection.execute(select(pools).where(pools.c.id == pool))).first()
    free = row.total - row.held - row.sold if row is not None else 0
    if units > free:
        raise InsufficientStock(
            f"{units} units of {pool!r} should be taken back, buyers hold all but {free}",
            pool=pool,
            available=free,
        )


def _text(needs: Mapping[str, int]) -> str:
    return orjson.dumps(dict(needs)).decode()
