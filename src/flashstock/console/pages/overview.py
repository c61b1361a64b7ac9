"""The sale at a glance, and the streams that keep pages live."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from markupsafe import Markup
from starlette.responses import Response, StreamingResponse

from flashstock.console.broadcast import Subject, as_events
from flashstock.console.group_subjects import GroupsOfPool, OneGroup
from flashstock.console.routing import Asked, page
from flashstock.console.subjects import OnePool, Overview
from flashstock.errors import UnknownGroup, UnknownPath, UnknownPool
from flashstock.model.ids import POOL_ID_PATTERN, parse_reservation_id

if TYPE_CHECKING:
    from flashstock.console.application import Console

_POOL_ID: Final = re.compile(POOL_ID_PATTERN)
OVERVIEW: Final = "overview"


async def overview(asked: Asked) -> Response:
    """Everything together, live."""
    return asked.render("overview.html", live=await live_part(asked.console, OVERVIEW))


async def live(asked: Asked) -> Response:
    """Pictures of one topic as server-sent events. The session is looked at before each."""
    console, request = asked.console, asked.request
    topic = asked.named("topic")
    admitted = console.broadcaster.admit(topic, _maker(console, topic))

    def is_valid() -> bool:
        return console.sessions.of(request).principal is not None

    pictures = console.broadcaster.watch(admitted)
    return StreamingResponse(as_events(pictures, is_valid), media_type="text/event-stream")


async def live_part(console: Console, topic: str) -> Markup:
    """What a page shows of a topic before its stream begins. The templates have escaped it."""
    return Markup(await console.broadcaster.picture(topic, _maker(console, topic)))


def _maker(console: Console, topic: str) -> Callable[[], Subject]:
    services, templates = console.services, console.templates
    if topic == OVERVIEW:
        return lambda: Overview(services, templates, console.now_ms)
    kind, _, name = topic.partition("/")
    if kind == "group":
        group = parse_reservation_id(name)
        if group is None:
            raise UnknownGroup(f"{name[:100]!r} is not a group id", group=name[:100])
        return lambda: OneGroup(group, services, templates, console.now_ms)
    if kind not in _OF_A_POOL:
        raise UnknownPath("there is nothing to watch at this path")
    if _POOL_ID.fullmatch(name) is None:
        raise UnknownPool(f"{name[:100]!r} is not a pool id", pool=name[:100])
    return lambda: _OF_A_POOL[kind](name, services, templates, console.now_ms)


_OF_A_POOL: Final[dict[str, Callable[..., Subject]]] = {"pool": OnePool, "groups": GroupsOfPool}


ROUTES = (page("", overview), page("/live/{topic:path}", live))
