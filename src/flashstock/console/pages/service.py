"""The service itself: shards and what follows them, webhooks, and who did what."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from flashstock.api.auth import Role
from flashstock.api.shards import shard_statuses
from flashstock.console.routing import Asked, Done, action, page
from flashstock.console.sessions import PATH
from flashstock.errors import UnknownPath

PAGE_ROWS: Final = 50
DELIVERY_STATES: Final = ("pending", "delivered", "dead")


async def shards(asked: Asked) -> Response:
    """How far SQL has followed the log, and what is between the book and the pools."""
    services = asked.services
    statuses = await shard_statuses(services.store, services.queries, services.outages)
    flights = []
    if services.stock is not None:
        flights = await services.stock.campaigns.flights.page((-1, ""), PAGE_ROWS)
    return asked.render(
        "shards.html",
        shards=statuses,
        totals={one.shard: one for one in await services.queries.shard_totals()},
        flights=flights,
        waiting=services.applied.waiting(),
        workers=services.settings.workers,
        viewers=asked.console.broadcaster.viewers,
    )


async def retry_flight(asked: Asked) -> Done:
    """Let a blocked command between the book and the pools go on."""
    command = await asked.stock.campaigns.flights.try_again(asked.field("command"))
    said = "goes on." if command else "is not under way any more."
    return Done(f"{PATH}/shards", f"Command {asked.field('command')} {said}")


async def webhooks(asked: Asked) -> Response:
    """Who is told what, and what became of it, the oldest first."""
    after, state = asked.wanted_number("after"), asked.wanted("state", "pending")
    service = asked.stock.notices.webhooks
    rows = await service.deliveries(
        after, PAGE_ROWS, webhook=asked.wanted("webhook") or None, state=_state(state)
    )
    return asked.render(
        "webhooks.html",
        webhooks=await service.all(),
        rows=rows,
        state=state,
        states=DELIVERY_STATES,
        next_after=rows[-1].id if len(rows) == PAGE_ROWS else None,
    )


async def retry_delivery(asked: Asked) -> Done:
    """Deliver once more."""
    number = asked.number_in_path("delivery")
    await asked.stock.notices.webhooks.retry(number)
    return Done(f"{PATH}/webhooks", f"Delivery {number} is tried again now.")


async def test_webhook(asked: Asked) -> Done:
    """Send a webhook that means nothing."""
    delivery = await asked.stock.notices.webhooks.test(asked.named("webhook"), asked.principal.name)
    return Done(f"{PATH}/webhooks", f"A test is on its way: delivery {delivery.id}.")


async def enable_webhook(asked: Asked) -> Done:
    """Tell somebody again who had answered 410 Gone."""
    webhook = await asked.stock.notices.webhooks.enable(asked.named("webhook"))
    return Done(f"{PATH}/webhooks", f"{webhook.id} is told what happens from now on.")


async def audit(asked: Asked) -> Response:
    """Who changed what, the newest first."""
    log = asked.services.audit
    if log is None:
        raise UnknownPath("this service keeps no audit log")
    actor, via = asked.wanted("actor"), asked.wanted("via")
    rows = await log.page(
        asked.wanted_number("after"), PAGE_ROWS, actor=actor or None, via=via or None
    )
    return asked.render(
        "audit.html",
        rows=rows,
        wanted={"actor": actor, "via": via},
        next_after=rows[-1].id if len(rows) == PAGE_ROWS else None,
    )


def _state(text: str) -> str | None:
    return text if text in DELIVERY_STATES else None


ROUTES = (
    page("/shards", shards),
    action("/shards/retry", retry_flight),
    page("/audit", audit),
    page("/webhooks", webhooks),
    action("/webhooks/deliveries/{delivery}/retry", retry_delivery),
    action("/webhooks/{webhook}/test", test_webhook),
    action("/webhooks/{webhook}/enable", enable_webhook, Role.ADMIN),
)
