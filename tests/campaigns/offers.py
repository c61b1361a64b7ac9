"""Campaigns as a test writes them down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flashstock.campaigns.balances import PresaleBalances
from flashstock.campaigns.bundles import Bundles
from flashstock.campaigns.closing import CampaignClosing
from flashstock.campaigns.course import CampaignCourse
from flashstock.campaigns.gifts import GiftGiver, GiftViews
from flashstock.campaigns.life import CampaignLife
from flashstock.campaigns.terms import Item, Terms
from flashstock.campaigns.views import CampaignViews, ShownCampaign
from tests.campaigns.site import Site, now_ms

HOUR_MS = 3_600_000


class Clock:
    """This machine's clock, moved forward where a test is in a hurry."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return now_ms() + self.ahead_ms


class Office:
    """Everybody who works on campaigns."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.clock = Clock()
        self.life = CampaignLife(site.engine, self.clock)
        self.course = CampaignCourse(site.engine, self.clock)
        self.closing = CampaignClosing(site.engine, self.clock)
        self.views = CampaignViews(site.engine, self.clock)
        self.bundles = Bundles(site.engine, self.clock)
        self.giver = GiftGiver(site.engine, site.node.stores.store, self.clock)
        self.gifts = GiftViews(site.engine)
        self.balances = PresaleBalances(site.engine, self.views, self.clock)
        self._count = 0

    async def goods(self, sku: str, **where: int) -> None:
        """A SKU with units at locations that are there."""
        await self.site.sku(sku, price_minor=1_000, currency="EUR")
        for location, quantity in where.items():
            await self.site.receive(sku, location, quantity)

    async def draft(self, *items: Item, **terms: Any) -> str:
        self._count += 1
        code, new = await self.life.draft(self.terms(*items, **terms), "ops", f"key-{self._count}")
        assert new
        return code

    def terms(self, *items: Item, **changes: Any) -> Terms:
        """Live since a while ago, unless the test says otherwise."""
        now = self.clock()
        base = Terms("sale", now - 1_000, now + HOUR_MS, items)
        return replace(base, **changes)

    async def in_force(self, code: str, revision: int = 1) -> None:
        """Submitted by one, approved by another, and carried out."""
        assert await self.life.submit(code, revision, "ops")
        assert await self.life.approve(code, revision, "boss", is_admin=False)
        await self.site.carried_out()

    async def running(self, *items: Item, **terms: Any) -> str:
        code = await self.draft(*items, **terms)
        await self.in_force(code)
        return code

    async def show(self, code: str) -> ShownCampaign:
        return await self.views.show(code)

    async def given(self) -> None:
        """Every gift that is due is decided."""
        await self.site.node.is_applied()
        while await self.giver.round():
            await self.site.node.is_applied()

    async def settled(self) -> None:
        """Whatever time brings about has been brought about."""
        while await self.closing.round():
            await self.site.carried_out()
