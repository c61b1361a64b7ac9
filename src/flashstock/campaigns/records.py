"""Reading and writing the rows of campaigns, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.campaigns.tables import (
    campaign_audit,
    campaign_items,
    campaign_revisions,
    campaigns,
)
from flashstock.campaigns.terms import (
    Campaign,
    Gift,
    Item,
    Revision,
    RevisionState,
    Status,
    Terms,
    pool_of,
)
from flashstock.errors import UnknownCampaign
from flashstock.model.events import decode_waves, encode_waves
from flashstock.model.states import DeductMode


async def find(connection: AsyncConnection, code: str) -> Campaign:
    """Raises ``UnknownCampaign``."""
    row = (await connection.execute(select(campaigns).where(campaigns.c.code == code))).first()
    if row is None:
        raise UnknownCampaign(f"there is no campaign {code!r}", campaign=code)
    return campaign_of(row)


def campaign_of(row: Any) -> Campaign:
    return Campaign(
        code=row.code,
        status=Status(row.status),
        latest_revision=row.latest_revision,
        live_revision=row.live_revision,
        starts_at_ms=row.starts_at_ms,
        ends_at_ms=row.ends_at_ms,
        created_by=row.created_by,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
    )


async def change_campaign(
    connection: AsyncConnection, code: str, at_ms: int, **values: Any
) -> None:
    """Write some columns of a campaign."""
    await connection.execute(
        update(campaigns).where(campaigns.c.code == code).values(updated_at_ms=at_ms, **values)
    )


async def add_revision(
    connection: AsyncConnection, code: str, number: int, terms: Terms, actor: str, at_ms: int
) -> None:
    """A new draft."""
    await connection.execute(
        insert(campaign_revisions),
        {
            "code": code,
            "revision": number,
            "state": RevisionState.DRAFT.value,
            "name": terms.name,
            "starts_at_ms": terms.starts_at_ms,
            "ends_at_ms": terms.ends_at_ms,
            "channels": ",".join(terms.channels),
            "per_buyer_limit": terms.per_buyer_limit,
            "limit_across_items": terms.limit_across_items,
            "audience": terms.audience,
            "deduct": terms.deduct.value,
            "hold_ms": terms.hold_ms,
            "places": ",".join(terms.places),
            "created_by": actor,
            "created_at_ms": at_ms,
        },
    )
    await connection.execute(
        insert(campaign_items), [_item_row(code, number, terms, item) for item in terms.items]
    )


def _item_row(code: str, revision: int, terms: Terms, item: Item) -> dict[str, Any]:
    return {
        "code": code,
        "revision": revision,
        "item": item.number,
        "pool": pool_of(code, item.number, across_items=terms.limit_across_items),
        "sku": item.sku,
        "title": item.title,
        "quantity": item.quantity,
        "price_minor": item.price_minor,
        "currency": item.currency,
        "presale": item.presale,
        "deposit_minor": item.deposit_minor,
        "waves": encode_waves(item.waves),
        "gifts": orjson.dumps([[g.sku, g.quantity, g.tier] for g in item.gifts]).decode(),
        "needs": orjson.dumps(dict(item.needs)).decode(),
        "group_buy": item.group_buy,
    }


async def change_revision(
    connection: AsyncConnection, code: str, number: int, **values: Any
) -> None:
    """Write what has become of a revision; what it says never changes."""
    where = (campaign_revisions.c.code == code) & (campaign_revisions.c.revision == number)
    await connection.execute(update(campaign_revisions).where(where).values(values))


async def change_item(
    connection: AsyncConnection, code: str, revision: int, item: int, **values: Any
) -> None:
    """Write what became of an item."""
    columns = campaign_items.c
    where = (columns.code == code) & (columns.revision == revision) & (columns.item == item)
    await connection.execute(update(campaign_items).where(where).values(values))


async def revision_of(connection: AsyncConnection, code: str, number: int) -> Revision:
    """One revision with its items. It must be there."""
    (found,) = await revisions_of(connection, [(code, number)])
    return found


async def revisions_of(
    connection: AsyncConnection, wanted: Sequence[tuple[str, int]]
) -> list[Revision]:
    """Several revisions with their items, in the order they were asked for."""
    codes = {code for code, _ in wanted}
    numbers = {number for _, number in wanted}
    rows = await connection.execute(
        select(campaign_revisions).where(
            campaign_revisions.c.code.in_(codes), campaign_revisions.c.revision.in_(numbers)
        )
    )
    heads = {(row.code, row.revision): row for row in rows}
    rows = await connection.execute(
        select(campaign_items)
        .where(campaign_items.c.code.in_(codes), campaign_items.c.revision.in_(numbers))
        .order_by(campaign_items.c.code, campaign_items.c.revision, campaign_items.c.item)
    )
    items: dict[tuple[str, int], list[Item]] = {}
    for row in rows:
        items.setdefault((row.code, row.revision), []).append(item_of(row))
    return [revision_from(heads[key], items.get(key, [])) for key in wanted]


def revision_from(row: Any, items: Sequence[Item]) -> Revision:
    terms = Terms(
        name=row.name,
        starts_at_ms=row.starts_at_ms,
        ends_at_ms=row.ends_at_ms,
        items=tuple(items),
        channels=_split(row.channels),
        per_buyer_limit=row.per_buyer_limit,
        limit_across_items=row.limit_across_items,
        audience=row.audience,
        deduct=DeductMode(row.deduct),
        hold_ms=row.hold_ms,
        places=_split(row.places),
    )
    return Revision(
        number=row.revision,
        state=RevisionState(row.state),
        terms=terms,
        created_by=row.created_by,
        created_at_ms=row.created_at_ms,
        submitted_by=row.submitted_by,
        decided_by=row.decided_by,
        reason=row.reason,
        in_force_from_ms=row.in_force_from_ms,
        in_force_until_ms=row.in_force_until_ms,
    )


def _split(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def item_of(row: Any) -> Item:
    """Read a row of ``campaign_items``."""
    return Item(
        number=row.item,
        sku=row.sku,
        quantity=row.quantity,
        price_minor=row.price_minor,
        currency=row.currency,
        title=row.title,
        presale=row.presale,
        deposit_minor=row.deposit_minor,
        waves=decode_waves(row.waves),
        gifts=tuple(Gift(*gift) for gift in orjson.loads(row.gifts)),
        group_buy=row.group_buy,
        added=row.added,
        needs=orjson.loads(row.needs),
    )


async def audit(
    connection: AsyncConnection,
    code: str,
    revision: int,
    action: str,
    actor: str,
    at_ms: int,
    detail: str = "",
) -> int:
    """Write down who did what; the number names this step and no other."""
    row = {
        "code": code,
        "revision": revision,
        "action": action,
        "detail": detail,
        "actor": actor,
        "at_ms": at_ms,
    }
    written = await connection.execute(
        insert(campaign_audit).returning(campaign_audit.c.number), row
    )
    return int(written.scalar_one())
