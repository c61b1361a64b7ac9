"""The course of a campaign that is in force: pause, resume, add to it, end it, give it up."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.campaigns import records
from flashstock.campaigns.steps import IN_FORCE, OPEN, Steps, is_over, item_pool, require
from flashstock.campaigns.tables import campaigns
from flashstock.campaigns.terms import Campaign, Status
from flashstock.errors import IdempotencyMismatch, UnknownCampaignItem, WrongCampaignState
from flashstock.model.ids import digest_of
from flashstock.model.states import PoolState
from flashstock.stockbook import pool_transfers
from flashstock.stockbook.pool_commands import asked_for
from flashstock.stockbook.pool_transfers import Wish


class CampaignCourse(Steps):
    """Every step from approval to the end."""

    async def pause(self, code: str, actor: str) -> bool:
        """Stop selling for now; holds stay, and can be paid. False where it is paused already."""
        return await self._switch(code, actor, Status.APPROVED, Status.PAUSED)

    async def resume(self, code: str, actor: str) -> bool:
        """Sell again. False where it is not paused."""
        return await self._switch(code, actor, Status.PAUSED, Status.APPROVED)

    async def _switch(self, code: str, actor: str, before: Status, after: Status) -> bool:
        pausing = after is Status.PAUSED
        async with self._locked() as connection:
            campaign = await records.find(connection, code)
            if campaign.status is after:
                return False
            at_ms = self._clock()
            require(campaign, (before,))
            if is_over(campaign, at_ms):
                raise WrongCampaignState("its time is over", state="ended")
            await records.change_campaign(connection, code, at_ms, status=after.value)
            step = "pause" if pausing else "resume"
            number = await records.audit(
                connection, code, campaign.live_revision, step, actor, at_ms
            )
            live = await records.revision_of(connection, code, campaign.live_revision)
            rules = {"state": (PoolState.PAUSED if pausing else PoolState.OPEN).value}
            for item in live.terms.items:
                pool = item_pool(code, live, item)
                command = f"campaign/{pool}/step-{number}"
                await pool_transfers.set_rules(connection, command, pool, rules, at_ms, actor=actor)
        return True

    async def void(self, code: str, actor: str) -> bool:
        """Give up a campaign that has not begun; its stock comes back. False where it was void.

        Raises:
            WrongCampaignState: it has begun, or is over.
        """
        async with self._locked() as connection:
            campaign = await records.find(connection, code)
            if campaign.status is Status.VOID:
                return False
            at_ms = self._clock()
            require(campaign, OPEN)
            if campaign.status in IN_FORCE and at_ms >= campaign.starts_at_ms:
                raise WrongCampaignState("it has begun: end it instead", state="live")
            await self._finish(connection, campaign, Status.VOID, actor, at_ms, early=True)
        return True

    async def end(self, code: str, actor: str) -> bool:
        """End a campaign before its time; what is left comes back. False where it has ended.

        Raises:
            WrongCampaignState: no revision of it was ever in force.
        """
        async with self._locked() as connection:
            campaign = await records.find(connection, code)
            if campaign.status is Status.ENDED:
                return False
            require(campaign, IN_FORCE)
            at_ms = self._clock()
            await self._finish(connection, campaign, Status.ENDED, actor, at_ms, early=True)
        return True

    async def end_those_over(self, actor: str, limit: int = 20) -> int:
        """Write down that the time of some campaigns is over, and have their stock given back.

        Whether a pool's time is over the pool itself decides. Returns how many.
        """
        over = (
            select(campaigns.c.code)
            .where(
                campaigns.c.status.in_([status.value for status in IN_FORCE]),
                campaigns.c.ends_at_ms <= self._clock(),
            )
            .order_by(campaigns.c.ends_at_ms)
            .limit(limit)
        )
        async with self._locked() as connection:
            codes = list((await connection.execute(over)).scalars())
            at_ms = self._clock()
            for code in codes:
                campaign = await records.find(connection, code)
                await self._finish(connection, campaign, Status.ENDED, actor, at_ms, early=False)
        return len(codes)

    async def _finish(
        self,
        connection: AsyncConnection,
        campaign: Campaign,
        status: Status,
        actor: str,
        at_ms: int,
        *,
        early: bool,
    ) -> None:
        code = campaign.code
        await records.change_campaign(connection, code, at_ms, status=status.value)
        step = "void" if status is Status.VOID else "end"
        revision = campaign.live_revision or campaign.latest_revision
        await records.audit(connection, code, revision, step, actor, at_ms)
        if not campaign.live_revision:
            return
        live = await records.revision_of(connection, code, campaign.live_revision)
        ended = {"in_force_until_ms": at_ms}
        await records.change_revision(connection, code, live.number, **ended)
        for item in live.terms.items:
            pool = item_pool(code, live, item)
            await pool_transfers.wind_down(
                connection,
                f"campaign/{pool}/end",
                pool,
                at_ms,
                early=early,
                virtual=item.presale,
                actor=actor,
            )

    async def add(self, code: str, number: int, units: int, actor: str, key: str) -> bool:
        """Set more units aside for an item that is in force. False where the key did it before.

        Raises:
            UnknownCampaignItem: the campaign in force has no such item.
            InsufficientStock: there are not that many available.
            WrongCampaignState: nothing of it is in force, or its time is over.
            IdempotencyMismatch: the key added something else.
        """
        command = f"campaign/add/{digest_of('campaign add', actor, key)}"
        async with self._locked() as connection:
            campaign = await records.find(connection, code)
            live = None
            if campaign.live_revision:
                live = await records.revision_of(connection, code, campaign.live_revision)
            item = next((i for i in live.terms.items if i.number == number), None) if live else None
            if live is None or item is None:
                raise UnknownCampaignItem(
                    f"{code} in force has no item {number}", campaign=code, item=number
                )
            pool = item_pool(code, live, item)
            earlier = await asked_for(connection, command)
            if earlier is not None:
                if earlier != (pool, units):
                    raise IdempotencyMismatch("this Idempotency-Key added something else")
                return False
            require(campaign, IN_FORCE)
            at_ms = self._clock()
            if is_over(campaign, at_ms):
                raise WrongCampaignState("its time is over", state="ended")
            wish = Wish(pool, units, item.needs, live.terms.places, virtual=item.presale)
            await pool_transfers.allocate(
                connection, command, wish, at_ms, actor=actor, reference=code
            )
            added = item.added + units
            await records.change_item(connection, code, live.number, number, added=added)
            detail = f"item {number}: {units} units"
            await records.audit(connection, code, live.number, "add", actor, at_ms, detail)
        return True
