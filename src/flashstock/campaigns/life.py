"""From a draft to what is in force: every step, who may take it, and what it does.

Each step is one transaction under the lock of the book, so steps of one campaign follow each other,
and each is written into the audit with its actor and time. An edit never changes what is in force:
it is a new revision, which takes its place when somebody approves it.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.campaigns import records
from flashstock.campaigns.effect import Effect
from flashstock.campaigns.steps import OPEN, Steps, is_over, known_by, require, require_revision
from flashstock.campaigns.tables import campaigns
from flashstock.campaigns.terms import (
    CODE_ALPHABET,
    CODE_LENGTH,
    Campaign,
    Revision,
    RevisionState,
    Status,
    Terms,
)
from flashstock.errors import (
    IdempotencyMismatch,
    InvalidRequest,
    OwnSubmission,
    WrongCampaignState,
)
from flashstock.model.ids import digest_of
from flashstock.stockbook.tables import skus


class CampaignLife(Steps):
    """Every step up to the approval."""

    async def draft(self, terms: Terms, actor: str, key: str) -> tuple[str, bool]:
        """Write a campaign down, under a code of its own.

        Returns:
            The code, and whether this is new: the same key finds the same campaign.

        Raises:
            IdempotencyMismatch: the key made another campaign.
        """
        async with self._locked() as connection:
            return await self.draft_within(connection, terms, actor, key)

    async def draft_within(
        self, connection: AsyncConnection, terms: Terms, actor: str, key: str
    ) -> tuple[str, bool]:
        """``draft`` in the transaction of a caller who has locked the book."""
        request_id = digest_of("campaign", actor, key)
        payload = digest_of("campaign terms", repr(terms))
        found = await connection.execute(
            select(campaigns).where(campaigns.c.request_id == request_id)
        )
        row = found.first()
        if row is not None:
            if row.request_digest != payload:
                raise IdempotencyMismatch("this Idempotency-Key made another campaign")
            return str(row.code), False
        code, at_ms = await _new_code(connection), self._clock()
        await connection.execute(
            insert(campaigns),
            {
                "code": code,
                "status": Status.DRAFT.value,
                "latest_revision": 1,
                "live_revision": 0,
                "starts_at_ms": terms.starts_at_ms,
                "ends_at_ms": terms.ends_at_ms,
                "request_id": request_id,
                "request_digest": payload,
                "created_by": actor,
                "created_at_ms": at_ms,
                "updated_at_ms": at_ms,
            },
        )
        terms = await _titled(connection, terms)
        await records.add_revision(connection, code, 1, terms, actor, at_ms)
        await records.audit(connection, code, 1, "draft", actor, at_ms)
        return code, True

    async def edit(self, code: str, seen: int, terms: Terms, actor: str) -> int:
        """Write a new revision, to be submitted and approved in its turn. Returns its number.

        Args:
            seen: the newest revision that the editor knew.

        Raises:
            CampaignOutdated: there is a newer one.
            WrongCampaignState: the campaign is over.
        """
        async with self._locked() as connection:
            campaign = await known_by(connection, code, seen)
            require(campaign, OPEN)
            at_ms, number = self._clock(), campaign.latest_revision + 1
            latest = await records.revision_of(connection, code, campaign.latest_revision)
            if latest.state in (RevisionState.DRAFT, RevisionState.SUBMITTED):
                replaced = {"state": RevisionState.REPLACED.value}
                await records.change_revision(connection, code, latest.number, **replaced)
            terms = await _titled(connection, terms)
            await records.add_revision(connection, code, number, terms, actor, at_ms)
            await records.change_campaign(connection, code, at_ms, latest_revision=number)
            await records.audit(connection, code, number, "edit", actor, at_ms)
        return number

    async def submit(self, code: str, revision: int, actor: str) -> bool:
        """Ask for approval. False where it was submitted before.

        Raises:
            CampaignOutdated: there is a newer revision.
            WrongCampaignState: it was rejected or is in force, or the campaign is over.
        """
        async with self._locked() as connection:
            campaign = await known_by(connection, code, revision)
            require(campaign, OPEN)
            found = await records.revision_of(connection, code, revision)
            if found.state is RevisionState.SUBMITTED:
                return False
            require_revision(found, RevisionState.DRAFT)
            at_ms = self._clock()
            submitted = {"state": RevisionState.SUBMITTED.value, "submitted_by": actor}
            await records.change_revision(connection, code, revision, **submitted)
            await records.audit(connection, code, revision, "submit", actor, at_ms)
        return True

    async def reject(self, code: str, revision: int, reason: str, actor: str) -> bool:
        """Decide against a revision; what is in force stays. False where it was rejected before.

        Raises:
            CampaignOutdated: there is a newer revision.
            WrongCampaignState: it is not submitted.
        """
        async with self._locked() as connection:
            await known_by(connection, code, revision)
            found = await records.revision_of(connection, code, revision)
            if found.state is RevisionState.REJECTED:
                return False
            require_revision(found, RevisionState.SUBMITTED)
            at_ms = self._clock()
            rejected = {"state": RevisionState.REJECTED.value, "decided_by": actor}
            await records.change_revision(connection, code, revision, reason=reason, **rejected)
            await records.audit(connection, code, revision, "reject", actor, at_ms, reason)
        return True

    async def approve(self, code: str, revision: int, actor: str, *, is_admin: bool) -> bool:
        """Put a revision in force: its stock is set aside, and its pools will be told.

        All of it or nothing, in one transaction. False where it is in force already.

        Raises:
            CampaignOutdated: there is a newer revision.
            OwnSubmission: whoever submitted it may not approve it, unless an admin.
            WrongCampaignState: it is not submitted, or its time is over.
            InsufficientStock: there is not enough to set aside, or buyers hold what should go.
            CampaignItemFixed: an item would sell something else than it did.
        """
        async with self._locked() as connection:
            campaign = await known_by(connection, code, revision)
            new = await records.revision_of(connection, code, revision)
            if new.state is RevisionState.IN_FORCE:
                return False
            require(campaign, OPEN)
            require_revision(new, RevisionState.SUBMITTED)
            if new.submitted_by == actor and not is_admin:
                raise OwnSubmission(f"{actor!r} submitted it", submitted_by=actor)
            at_ms = self._clock()
            if new.terms.ends_at_ms <= at_ms or is_over(campaign, at_ms):
                raise WrongCampaignState("its time is over", state="ended")
            old = None
            if campaign.live_revision:
                old = await records.revision_of(connection, code, campaign.live_revision)
            paused = campaign.status is Status.PAUSED
            effect = Effect(connection, campaign, old, new, actor=actor, at_ms=at_ms, paused=paused)
            await effect.take()
            await self._put_in_force(connection, campaign, old, new, actor, at_ms)
        return True

    async def _put_in_force(
        self,
        connection: AsyncConnection,
        campaign: Campaign,
        old: Revision | None,
        new: Revision,
        actor: str,
        at_ms: int,
    ) -> None:
        code = campaign.code
        if old is not None:
            replaced = {"state": RevisionState.REPLACED.value, "in_force_until_ms": at_ms}
            await records.change_revision(connection, code, old.number, **replaced)
        in_force = {"state": RevisionState.IN_FORCE.value, "in_force_from_ms": at_ms}
        await records.change_revision(connection, code, new.number, decided_by=actor, **in_force)
        await records.change_campaign(
            connection,
            code,
            at_ms,
            status=(Status.APPROVED if old is None else campaign.status).value,
            live_revision=new.number,
            starts_at_ms=new.terms.starts_at_ms,
            ends_at_ms=new.terms.ends_at_ms,
        )
        await records.audit(connection, code, new.number, "approve", actor, at_ms)


async def _new_code(connection: AsyncConnection) -> str:
    while True:
        code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
        taken = select(campaigns.c.code).where(campaigns.c.code == code)
        if (await connection.execute(taken)).first() is None:
            return code


async def _titled(connection: AsyncConnection, terms: Terms) -> Terms:
    """The terms with every title, price and currency filled in: what is sold is a snapshot.

    Raises:
        InvalidRequest: an item names a SKU that is not known.
    """
    wanted = {item.sku for item in terms.items} | {g.sku for i in terms.items for g in i.gifts}
    rows = await connection.execute(select(skus).where(skus.c.sku.in_(wanted)))
    known = {row.sku: row for row in rows}
    missing = sorted(wanted - known.keys())
    if missing:
        raise InvalidRequest(f"items: there is no SKU {missing[0]!r}", sku=missing[0])
    items = tuple(
        replace(
            item,
            title=item.title or known[item.sku].title,
            price_minor=item.price_minor or known[item.sku].price_minor,
            currency=item.currency or known[item.sku].currency,
        )
        for item in terms.items
    )
    return replace(terms, items=items)
