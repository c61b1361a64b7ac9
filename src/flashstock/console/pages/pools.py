"""Pools: the list, one of them live, and what may be done to it."""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import Response

from flashstock.api.schemas_pools import AdjustRequest, PoolRequest
from flashstock.campaigns.terms import CODE_PATTERN
from flashstock.console.group_form import GroupFields, asked_group_buy
from flashstock.console.pages.overview import live_part
from flashstock.console.routing import Asked, Done, action, page, path_to
from flashstock.console.subjects import phase_of
from flashstock.errors import InvalidRequest, PoolOfBook, UnknownPool
from flashstock.model.ids import POOL_ID_PATTERN
from flashstock.model.states import PoolState

PAGE_ROWS: Final = 50

_POOL_ID: Final = re.compile(POOL_ID_PATTERN)
_OF_CAMPAIGN: Final = re.compile(CODE_PATTERN.removesuffix("$").removeprefix("^") + r"(?=[-:])")


def known_pool(asked: Asked, part: str = "pool") -> str:
    """The pool that a part of the path names. Text that can't be an id names none: nobody needs
    to be asked.
    """
    pool = asked.named(part)
    if _POOL_ID.fullmatch(pool) is None:
        raise UnknownPool(f"{pool[:100]!r} is not a pool id", pool=pool[:100])
    return pool


async def pools(asked: Asked) -> Response:
    """By id, those with a text in their id if there is one."""
    wanted, after = asked.wanted("q"), asked.wanted("after")
    queries = asked.services.queries
    if wanted:
        rows = await queries.pools_like(wanted, after, PAGE_ROWS)
    else:
        rows = await queries.pools(after, PAGE_ROWS)
    return asked.render(
        "pools.html",
        rows=rows,
        wanted=wanted,
        after=after,
        next_after=rows[-1].id if len(rows) == PAGE_ROWS else None,
        phase_of=phase_of,
    )


async def pool(asked: Asked) -> Response:
    """One pool, live, with what may be done to it."""
    pool_id = known_pool(asked)
    view = await asked.services.pools.get(pool_id)
    of_campaign = _OF_CAMPAIGN.match(pool_id)
    return asked.render(
        "pool.html",
        pool=pool_id,
        view=view,
        is_of_book=await _is_of_book(asked, pool_id),
        campaign=of_campaign[0] if of_campaign else None,
        live=await live_part(asked.console, f"pool/{pool_id}"),
    )


async def new_pool(asked: Asked) -> Response:
    """The form for one more."""
    return asked.render("pool_new.html", group=GroupFields())


async def create(asked: Asked) -> Done:
    """A pool that is filled by hand, as ``POST /v1/pools`` makes it."""
    request = asked.validated(
        PoolRequest,
        {
            "id": asked.field("id"),
            "sku": asked.field("sku"),
            "quantity": asked.whole_number("quantity"),
            "per_buyer_limit": asked.number_or_none("per_buyer_limit"),
            "hold_seconds": asked.number_or_none("hold_seconds"),
            "starts_at": asked.time_or_none("starts_at"),
            "ends_at": asked.time_or_none("ends_at"),
            "durability": asked.text_or_none("durability"),
            "group_buy": asked_group_buy(asked),
        },
    )
    _, created = await asked.services.pools.create(
        request.id, request.pool_rules(), request.quantity
    )
    said = "was created" if created else "was there already, with the same settings"
    return Done(path_to("pools", request.id), f"Pool {request.id} {said}.")


async def adjust(asked: Asked) -> Done:
    """Add units, take some back, lock some or unlock them."""
    pool_id = known_pool(asked)
    await _refuse_if_of_book(asked, pool_id)
    units = asked.whole_number("units")
    if units <= 0:
        problem = {"field": "units", "problem": "must be more than 0"}
        raise InvalidRequest("units: must be more than 0", errors=[problem])
    deltas = {
        "add": (units, 0, "added to"),
        "take": (-units, 0, "taken from"),
        "lock": (0, units, "locked in"),
        "unlock": (0, -units, "unlocked in"),
    }
    what = asked.field("what")
    if what not in deltas:
        raise InvalidRequest(f"what: must be one of {', '.join(deltas)}")
    delta, lock_delta, said = deltas[what]
    asked.validated(AdjustRequest, {"delta": delta, "lock_delta": lock_delta})
    _, replayed = await asked.services.pools.adjust(
        asked.principal.name, asked.idempotency_key(), pool_id, delta, lock_delta
    )
    once = " (before: this form was sent twice)" if replayed else ""
    return Done(path_to("pools", pool_id), f"{units:,} units {said} {pool_id}{once}.")


async def pause(asked: Asked) -> Done:
    """Stop selling for now."""
    return await _set_state(asked, PoolState.PAUSED, "is paused: holds stay, and can be paid.")


async def resume(asked: Asked) -> Done:
    """Sell again."""
    return await _set_state(asked, PoolState.OPEN, "sells again.")


async def close(asked: Asked) -> Done:
    """Stop selling for good."""
    await _refuse_if_of_book(asked, known_pool(asked))
    return await _set_state(asked, PoolState.CLOSED, "is closed for good: holds can be paid.")


async def _set_state(asked: Asked, state: PoolState, said: str) -> Done:
    pool_id = known_pool(asked)
    await asked.services.pools.set_state(pool_id, state)
    return Done(path_to("pools", pool_id), f"Pool {pool_id} {said}")


async def _is_of_book(asked: Asked, pool_id: str) -> bool:
    try:
        await _refuse_if_of_book(asked, pool_id)
    except PoolOfBook:
        return True
    return False


async def _refuse_if_of_book(asked: Asked, pool_id: str) -> None:
    if asked.services.stock is not None:
        await asked.services.stock.campaigns.flights.refuse_if_of_book(pool_id)


ROUTES = (
    page("/pools", pools),
    page("/new-pool", new_pool),
    action("/pools", create),
    page("/pools/{pool}", pool),
    action("/pools/{pool}/adjust", adjust),
    action("/pools/{pool}/pause", pause),
    action("/pools/{pool}/resume", resume),
    action("/pools/{pool}/close", close),
)
