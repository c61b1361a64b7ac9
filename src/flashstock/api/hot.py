"""The lean routes: reserve, batch, confirm, cancel. Same rules as FastAPI's, a fifth of the cost.

Routing, dependencies and pydantic cost several times what the rest of such a request does, so
these routes go without: msgspec decodes, orjson encodes, and whatever a batch shares is computed
once for the batch. Their schemas are in ``openapi.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from flashstock.api import request_ids
from flashstock.api.asgi import (
    BATCH_PATH,
    ASGIHandler,
    ClientGone,
    Receive,
    Scope,
    Send,
    read_body,
)
from flashstock.api.auth import Principal, Role
from flashstock.api.bodies import deadline_or_none, receipt_stamp, refusal_of, reservation_body
from flashstock.api.bodies_groups import progress_body
from flashstock.api.hot_groups import GROUPS_PATH, SeatRoutes
from flashstock.api.lean import (
    CUT_OFF,
    HEADERS,
    REPLAY_HEADERS,
    LeanAnswer,
    LeanHandler,
    Respond,
    as_asgi,
    failed,
    headers_of,
    known,
    problem_answer,
    send_answer,
)
from flashstock.api.problems import problem_document
from flashstock.api.requests import (
    attested,
    decode_batch,
    decode_cancel,
    decode_confirm,
    decode_reserve,
    idempotency_key,
    require_json,
)
from flashstock.api.services import Services
from flashstock.api.turnstile import Turnstile
from flashstock.errors import FlashstockError, Overloaded
from flashstock.hotpath.asking import Asking
from flashstock.hotpath.replies import BatchReply
from flashstock.hotpath.scripts import Verdict
from flashstock.model.ids import digest_of, parse_reservation_id
from flashstock.model.records import unpack_record
from flashstock.service.reservations import Answer

logger = logging.getLogger(__name__)

_RESERVATIONS: Final = "/v1/reservations"
_HELD: Final = int(Verdict.HELD)
_REPLAYED: Final = int(Verdict.REPLAYED)
_SOLD_OUT: Final = int(Verdict.SOLD_OUT)
_SOLD_OUT_CACHED_MAX: Final = 10_000
_OVERLOADED: Final = problem_answer(Overloaded())

Answering = Callable[[Scope, Receive], Awaitable[LeanAnswer]]


class _Single:
    """One reservation, answered by itself."""

    __slots__ = ("_pool", "_respond", "_routes", "attests", "buyer", "digest", "quantity")

    def __init__(
        self,
        routes: HotRoutes,
        pool: str,
        digest: str,
        buyer: str,
        quantity: int,
        attests: str,
        respond: Respond,
    ) -> None:
        self._routes = routes
        self._pool = pool
        self.digest = digest
        self.buyer = buyer
        self.quantity = quantity
        self.attests = attests
        self._respond = respond

    def decided(self, verdict: int, batch: BatchReply, replay: bytes | None) -> None:
        routes, pool = self._routes, self._pool
        try:
            if verdict == _SOLD_OUT:
                answer = routes.sold_out(pool, batch)
            else:
                body = routes.body(pool, self, verdict, batch, replay)
                if verdict == _HELD:
                    answer = LeanAnswer(201, HEADERS, orjson.dumps(body))
                else:
                    answer = LeanAnswer(200, REPLAY_HEADERS, orjson.dumps(body))
        except Exception as failure:  # noqa: BLE001 (logged and answered: a lane must go on)
            answer = failed(failure)
        self._respond(answer)

    def failed(self, failure: Exception) -> None:
        self._respond(failed(failure))


class _Several:
    """The items of one batch call, answered together in the order they were asked for."""

    __slots__ = ("_missing", "_respond", "items", "routes")

    def __init__(self, routes: HotRoutes, size: int, respond: Respond) -> None:
        self.routes = routes
        self.items: list[dict[str, Any]] = [{}] * size
        self._missing = size
        self._respond = respond

    def answer(self, index: int, item: dict[str, Any]) -> None:
        """Put in the answer to one item; with the last one, all are sent."""
        self.items[index] = item
        self._missing -= 1
        if not self._missing:
            self._respond(LeanAnswer(200, HEADERS, orjson.dumps({"items": self.items})))


class _Item:
    """One reservation of a batch call."""

    __slots__ = ("_call", "_index", "_pool", "attests", "buyer", "digest", "quantity")

    def __init__(
        self,
        call: _Several,
        index: int,
        pool: str,
        digest: str,
        buyer: str,
        quantity: int,
        attests: str,
    ) -> None:
        self._call = call
        self._index = index
        self._pool = pool
        self.digest = digest
        self.buyer = buyer
        self.quantity = quantity
        self.attests = attests

    def decided(self, verdict: int, batch: BatchReply, replay: bytes | None) -> None:
        try:
            body = self._call.routes.body(self._pool, self, verdict, batch, replay)
            item = {"status": 201 if verdict == _HELD else 200, **body}
        except Exception as failure:  # noqa: BLE001 (logged and answered: a lane must go on)
            item = problem_document(known(failure))
        self._call.answer(self._index, item)

    def failed(self, failure: Exception) -> None:
        self._call.answer(self._index, problem_document(known(failure)))


class HotRoutes:
    """The handlers of the four routes of the hot path.

    ``turnstile`` is for servers that know how to call handlers without ASGI.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lanes = services.lanes
        self._sign = services.signer.sign
        self._keyring = services.keyring
        self._verdicts = services.counters.verdicts
        self._count_refusal = services.counters.refused
        self._sold_out: dict[str, tuple[BatchReply, LeanAnswer]] = {}
        seats = SeatRoutes(services)
        lean: Mapping[str, LeanHandler] = {
            _RESERVATIONS: self._guarded(_RESERVATIONS, self._reserve),
            BATCH_PATH: self._guarded(BATCH_PATH, self._batch),
            GROUPS_PATH: self._guarded(GROUPS_PATH, seats.open),
        }
        self._exact: Mapping[str, ASGIHandler] = {
            path: as_asgi(handler, self._counting(path)) for path, handler in lean.items()
        }
        self.turnstile = Turnstile(lean, self._turn_away, services.settings.lane_pending_max)
        one = f"{_RESERVATIONS}/{{reservation_id}}"
        self._confirm_handler = self._guarded_asgi(f"{one}/confirm", self._confirm)
        self._cancel_handler = self._guarded_asgi(f"{one}/cancel", self._cancel)
        self._join_handler = self._guarded_asgi(f"{GROUPS_PATH}/{{group_id}}/join", seats.join)

    def handler(self, scope: Scope) -> ASGIHandler | None:
        """The handler of a request, or ``None`` where FastAPI takes it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        path: str = scope["path"]
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        if path.startswith("/v1/reservations/") and path.count("/") == 4:
            if path.endswith("/confirm"):
                return self._confirm_handler
            if path.endswith("/cancel"):
                return self._cancel_handler
        if path.startswith("/v1/groups/") and path.endswith("/join") and path.count("/") == 4:
            return self._join_handler
        return None

    def _counting(self, route: str) -> Respond:
        answered = self._services.counters.answered
        return lambda answer: answered("POST", route, answer.status, answer.code)

    def _guarded(self, route: str, handler: LeanHandler) -> LeanHandler:
        """Errors become problems, and every answer is counted."""
        count = self._counting(route)

        def guarded(headers: Mapping[bytes, bytes], body: bytes, respond: Respond) -> None:
            if request_ids.HEADER in headers and (
                sent := request_ids.sane(headers[request_ids.HEADER])
            ):
                respond = _marking(sent, respond)

            def counted(answer: LeanAnswer) -> None:
                count(answer)
                respond(answer)

            try:
                handler(headers, body, counted)
            except Exception as failure:  # noqa: BLE001 (logged, and answered with a problem)
                counted(failed(failure))

        return guarded

    def _turn_away(self, route: str, respond: Respond) -> None:
        self._counting(route)(_OVERLOADED)
        respond(_OVERLOADED)

    def _guarded_asgi(self, route: str, handler: Answering) -> ASGIHandler:
        """The same for routes that wait."""
        count = self._counting(route)

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                answer = await handler(scope, receive)
            except ClientGone:
                return
            except asyncio.CancelledError:
                answer = CUT_OFF
            except Exception as failure:  # noqa: BLE001 (logged, and answered with a problem)
                answer = failed(failure)
            count(answer)
            sent = request_ids.sane(dict(scope["headers"]).get(request_ids.HEADER))
            await send_answer(send, answer if sent is None else _marked(sent, answer))

        return guarded

    def _reserve(self, headers: Mapping[bytes, bytes], body: bytes, respond: Respond) -> None:
        principal = self._admit(headers)
        require_json(headers.get(b"content-type"))
        key = idempotency_key(headers.get(b"idempotency-key"))
        request = decode_reserve(body)
        pool = request.pool
        digest = digest_of("reservation", principal.name, key)
        attests = attested(request.attests)
        asking = _Single(self, pool, digest, request.buyer, request.quantity, attests, respond)
        self._lanes.ask(pool, asking)

    def _batch(self, headers: Mapping[bytes, bytes], body: bytes, respond: Respond) -> None:
        name = self._admit(headers).name
        require_json(headers.get(b"content-type"))
        items = decode_batch(body).items
        call = _Several(self, len(items), respond)
        ask = self._lanes.ask
        for index, item in enumerate(items):
            digest = digest_of("reservation", name, item.idempotency_key)
            attests = attested(item.attests)
            asking = _Item(call, index, item.pool, digest, item.buyer, item.quantity, attests)
            try:
                ask(item.pool, asking)
            except FlashstockError as refusal:
                asking.failed(refusal)

    async def _confirm(self, scope: Scope, receive: Receive) -> LeanAnswer:
        headers = headers_of(scope)
        self._admit(headers)
        require_json(headers.get(b"content-type"))
        request = decode_confirm(await read_body(scope, receive))
        reservation_id = scope["path"].split("/")[3]
        answer = await self._services.reservations.confirm(
            reservation_id, request.payment_ref, request.receipt
        )
        return self._answered(answer)

    async def _cancel(self, scope: Scope, receive: Receive) -> LeanAnswer:
        headers = headers_of(scope)
        self._admit(headers)
        body = await read_body(scope, receive)
        if body:
            require_json(headers.get(b"content-type"))
            decode_cancel(body)
        answer = await self._services.reservations.cancel(scope["path"].split("/")[3])
        return self._answered(answer)

    def _answered(self, answer: Answer) -> LeanAnswer:
        body = reservation_body(answer.view, self._services.signer)
        if answer.group is not None:
            body["group_now"] = progress_body(answer.group, answer.view.now_ms)
        headers = REPLAY_HEADERS if answer.replayed else HEADERS
        return LeanAnswer(200, headers, orjson.dumps(body))

    def _admit(self, headers: Mapping[bytes, bytes]) -> Principal:
        return self._keyring.authorize(headers.get(b"authorization"), Role.STOREFRONT)

    def body(
        self,
        pool: str,
        asking: Asking,
        verdict: int,
        batch: BatchReply,
        replay: bytes | None,
    ) -> dict[str, Any]:
        """The reservation that a verdict made or found.

        Raises:
            FlashstockError: the refusal, where the verdict is one.
        """
        self._verdicts[verdict] += 1
        digest = asking.digest
        if verdict == _HELD:
            buyer, quantity = asking.buyer, asking.quantity
            # What ``reservation_body`` says of a hold just granted, without building a record.
            reservation_id = f"{pool}~{digest}"
            stamp, expires_at = _shared_by_batch(
                batch.deadline_ms, batch.generation, batch.first_seq
            )
            return {
                "id": reservation_id,
                "pool": pool,
                "buyer": buyer,
                "quantity": quantity,
                "state": "ordered" if batch.ordered else "held",
                "expires_at": expires_at,
                "receipt": self._sign(reservation_id, buyer, quantity, stamp),
            }
        if replay is not None:
            record = unpack_record(replay.decode())
            target = parse_reservation_id(f"{pool}~{digest}")
            assert target is not None
            view = self._services.reservations.view(target, record, batch.now_ms)
            return reservation_body(view, self._services.signer)
        self._count_refusal(pool, verdict)
        raise refusal_of(verdict, pool, batch, asking.attests)

    def sold_out(self, pool: str, batch: BatchReply) -> LeanAnswer:
        """The most frequent answer of a flash sale: encoded once per batch that said it."""
        self._verdicts[_SOLD_OUT] += 1
        self._count_refusal(pool, _SOLD_OUT)
        cached = self._sold_out.get(pool)
        if cached is None or cached[0] is not batch:
            cached = (batch, problem_answer(refusal_of(_SOLD_OUT, pool, batch)))
            if len(self._sold_out) >= _SOLD_OUT_CACHED_MAX:
                self._sold_out.clear()
            self._sold_out[pool] = cached
        return cached[1]


def _marking(sent: bytes, respond: Respond) -> Respond:
    """Answers with the caller's own id. Nobody makes up one here: it would cost each request."""
    return lambda answer: respond(_marked(sent, answer))


def _marked(sent: bytes, answer: LeanAnswer) -> LeanAnswer:
    if answer.status == 500:
        logger.error("answered 500; the reason is above", extra={"request_id": sent.decode()})
    return answer._replace(headers=(*answer.headers, (request_ids.HEADER, sent)))


@lru_cache(maxsize=4096)
def _shared_by_batch(deadline_ms: int, generation: str, first_seq: int) -> tuple[str, str | None]:
    """(receipt stamp, expires_at) of all holds of one batch."""
    return receipt_stamp(deadline_ms, generation, first_seq), deadline_or_none(deadline_ms)
