"""Group-buys: pools that sell to groups, their open groups, one group live."""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import RedirectResponse, Response

from flashstock.console.group_subjects import OpenGroups, open_groups_of
from flashstock.console.pages.overview import live_part
from flashstock.console.pages.pools import known_pool
from flashstock.console.routing import Asked, page, path_to
from flashstock.console.subjects import phase_of
from flashstock.errors import InvalidRequest, UnknownGroup
from flashstock.ledger.group_watch_queries import GroupCounts
from flashstock.model.ids import parse_reservation_id

PAGE_ROWS: Final = 50
_CURSOR: Final = re.compile(r"[0-9]{1,18}~[A-Za-z0-9_-]{16}")


async def groups(asked: Asked) -> Response:
    """Pools that sell to groups, by id. A text that is a group's id leads to that group."""
    wanted, after = asked.wanted("q"), asked.wanted("after")
    if wanted:
        return RedirectResponse(path_to("groups", wanted), 303)
    rows = await asked.services.queries.pools_of_groups(after, PAGE_ROWS)
    return asked.render(
        "groups.html",
        rows=rows,
        after=after,
        counts=await asked.services.queries.group_counts([row.id for row in rows]),
        no_counts=GroupCounts(),
        next_after=rows[-1].id if len(rows) == PAGE_ROWS else None,
        phase_of=phase_of,
    )


async def pool_groups(asked: Asked) -> Response:
    """A pool's open groups, the nearest to full first: the first page live, others as they are."""
    pool, after = known_pool(asked, "pool_of_groups"), asked.wanted("after")
    if after and _CURSOR.fullmatch(after) is None:
        raise InvalidRequest("after: is not where a page of ours ended")
    found: OpenGroups = await open_groups_of(asked.services, pool, after)
    topic = f"groups/{pool}"
    live = await live_part(asked.console, topic) if not after else None
    return asked.render("pool_groups.html", pool=pool, topic=topic, live=live, found=found)


async def group(asked: Asked) -> Response:
    """One group, live: who is in it, what it lacks, what happened to it."""
    target = parse_reservation_id(asked.named("group"))
    if target is None:
        shown = asked.named("group")[:100]
        raise UnknownGroup(f"{shown!r} is not a group id", group=shown)
    view = await asked.services.groups.get(str(target))
    topic = f"group/{target}"
    return asked.render(
        "group.html",
        view=view,
        rules=view.record.rules,
        topic=topic,
        live=await live_part(asked.console, topic),
    )


ROUTES = (
    page("/groups", groups),
    page("/groups/{group}", group),
    page("/groups/of/{pool_of_groups}", pool_groups),
)
