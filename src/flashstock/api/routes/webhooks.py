"""Webhooks: who is told what, and what became of it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from flashstock import errors
from flashstock.api.bodies import format_time
from flashstock.api.documents_notices import (
    DeliveryDocument,
    DeliveryPage,
    NewWebhookDocument,
    WebhookDocument,
    WebhookList,
)
from flashstock.api.notice_routing import NoticesOf
from flashstock.api.openapi import problems
from flashstock.api.routing import NO_BODY, AdminRoute, OpsRoute, PrincipalOf, answer
from flashstock.api.schemas_notices import DeliveryPageRequest, WebhookRequest
from flashstock.notices.webhooks import WEBHOOK_ID_PATTERN, Delivery, Webhook, Webhooks

_ID: Final = re.compile(WEBHOOK_ID_PATTERN)

watching = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=OpsRoute)
changing = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=AdminRoute)


def _webhooks_of(notices: NoticesOf) -> Webhooks:
    return notices.webhooks


def _known_id(
    webhook: Annotated[
        str,
        Path(examples=["wh_0123456789abcdef"], json_schema_extra={"pattern": WEBHOOK_ID_PATTERN}),
    ],
) -> str:
    """Text that can't be an id names no webhook: nobody needs to be asked."""
    if webhook == "deliveries":
        raise errors.WrongMethod("this path takes GET, HEAD", allow=["GET", "HEAD"])
    if _ID.fullmatch(webhook) is None:
        raise errors.UnknownWebhook(f"there is no webhook {webhook[:100]!r}", webhook=webhook[:100])
    return webhook


WebhooksOf = Annotated[Webhooks, Depends(_webhooks_of)]
WebhookIdOf = Annotated[str, Depends(_known_id)]
DeliveryIdOf = Annotated[int, Path(ge=1, le=2**53, examples=[17])]


@changing.post(
    "",
    status_code=201,
    summary="Tell somebody what happens",
    responses={
        201: {"model": NewWebhookDocument},
        **problems(errors.TooManyWebhooks, writes=True),
    },
)
async def create_webhook(body: WebhookRequest, webhooks: WebhooksOf) -> Response:
    """The secret is in this answer and nowhere else. Signatures follow Standard Webhooks."""
    webhook, secret = await webhooks.create(body.url, body.topics)
    return answer({**_webhook(webhook), "secret": secret}, 201)


@watching.get("", summary="List webhooks", responses={200: {"model": WebhookList}, **problems()})
async def list_webhooks(webhooks: WebhooksOf) -> Response:
    """Oldest first; never the secrets."""
    return answer({"items": [_webhook(webhook) for webhook in await webhooks.all()]})


@watching.get(
    "/deliveries",
    summary="What was delivered, and what was not",
    responses={200: {"model": DeliveryPage}, **problems(errors.InvalidRequest)},
)
async def list_deliveries(
    page: Annotated[DeliveryPageRequest, Query()], webhooks: WebhooksOf
) -> Response:
    """Oldest first. What was delivered, or given up, is kept for 30 days."""
    rows = await webhooks.deliveries(page.after, page.limit, webhook=page.webhook, state=page.state)
    next_after = rows[-1].id if len(rows) == page.limit else None
    return answer({"items": [_delivery(row) for row in rows], "next_after": next_after})


@watching.post(
    "/deliveries/{delivery_id}/retry",
    dependencies=[NO_BODY],
    summary="Deliver once more",
    responses={
        200: {"model": DeliveryDocument},
        **problems(
            errors.UnknownDelivery, errors.UnknownWebhook, errors.WebhookDisabled, writes=True
        ),
    },
)
async def retry_delivery(delivery_id: DeliveryIdOf, webhooks: WebhooksOf) -> Response:
    """Now, and with a full number of tries; the event keeps its id, whatever became of it."""
    return answer(_delivery(await webhooks.retry(delivery_id)))


@watching.get(
    "/{webhook}",
    summary="Look at a webhook",
    responses={200: {"model": WebhookDocument}, **problems(errors.UnknownWebhook)},
)
async def get_webhook(webhook: WebhookIdOf, webhooks: WebhooksOf) -> Response:
    """Without its secret."""
    return answer(_webhook(await webhooks.get(webhook)))


@changing.delete(
    "/{webhook}",
    dependencies=[NO_BODY],
    summary="Tell somebody nothing more",
    responses={
        200: {"model": WebhookDocument},
        **problems(errors.UnknownWebhook, writes=True),
    },
)
async def delete_webhook(webhook: WebhookIdOf, webhooks: WebhooksOf) -> Response:
    """What it was not told yet is dead. Repeating it is a 404."""
    return answer(_webhook(await webhooks.delete(webhook)))


@changing.post(
    "/{webhook}/rotate",
    dependencies=[NO_BODY],
    summary="Change the secret",
    responses={
        200: {"model": NewWebhookDocument},
        **problems(errors.UnknownWebhook, writes=True),
    },
)
async def rotate_secret(webhook: WebhookIdOf, webhooks: WebhooksOf) -> Response:
    """For a day both the new and the old secret sign."""
    rotated, secret = await webhooks.rotate(webhook)
    return answer({**_webhook(rotated), "secret": secret})


@changing.post(
    "/{webhook}/enable",
    dependencies=[NO_BODY],
    summary="Tell somebody again",
    responses={
        200: {"model": WebhookDocument},
        **problems(errors.UnknownWebhook, writes=True),
    },
)
async def enable_webhook(webhook: WebhookIdOf, webhooks: WebhooksOf) -> Response:
    """After it had answered 410 Gone. What happened meanwhile it is not told."""
    return answer(_webhook(await webhooks.enable(webhook)))


@watching.post(
    "/{webhook}/test",
    status_code=202,
    dependencies=[NO_BODY],
    summary="Send a webhook that means nothing",
    responses={
        202: {"model": DeliveryDocument, "description": "It will be sent within seconds."},
        **problems(errors.UnknownWebhook, errors.WebhookDisabled, writes=True),
    },
)
async def test_webhook(
    webhook: WebhookIdOf, webhooks: WebhooksOf, principal: PrincipalOf
) -> Response:
    """Topic `webhook.test`, whatever it asked for; the log tells what became of it."""
    return answer(_delivery(await webhooks.test(webhook, principal.name)), 202)


def _webhook(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "topics": list(webhook.topics),
        "enabled": webhook.enabled,
        "disabled_reason": webhook.disabled_reason or None,
        "created_at": format_time(webhook.created_at_ms),
        "updated_at": format_time(webhook.updated_at_ms),
    }


def _delivery(row: Delivery) -> dict[str, Any]:
    return {
        "id": row.id,
        "webhook": row.webhook,
        "event_id": row.event_id,
        "topic": row.topic,
        "state": row.state,
        "attempts": row.attempts,
        "status_code": row.status_code,
        "problem": row.problem or None,
        "created_at": format_time(row.created_at_ms),
        "tried_at": format_time(row.tried_at_ms) if row.tried_at_ms else None,
        "next_try_at": format_time(row.next_try_at_ms) if row.next_try_at_ms else None,
    }
