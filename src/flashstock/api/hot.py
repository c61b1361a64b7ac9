"""The lean routes: reserve, batch, confirm, cancel. Same rules as FastAPI's, a fifth of the cost.

Routing, dependencies and pydantic cost several times what the rest of such a request does, so
these routes are plain ASGI: msgspec decodes, orjson encodes, and whatever a batch shares is
computed once for the batch. Their schemas are in ``openapi.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from flashstock.api.asgi import (
    ASGIHandler,
    ClientGone,
    Message,
    Receive,
    Scope,
    Send,
    check_content_length,
    header_of,
    read_body,
)
from flashstock.api.auth import Principal, Role
from flashstock.api.bodies import format_time, receipt_stamp, refusal_of, reservation_body
from flashstock.api.problems import problem_document, problem_response_parts
from flashstock.api.requests import (
    decode_batch,
    decode_cancel,
    decode_confirm,
    decode_reserve,
    idempotency_key,
    require_json,
)
from flashstock.api.services import Services
from flashstock.errors import FlashstockError, SoldOut
from flashstock.hotpath.lanes import Verdicted
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
_JSON: Final = (b"content-type", b"application/json")
_NO_STORE: Final = (b"cache-control", b"no-store")
_DECIDING_HEADERS: Final = (
    b"authorization",
    b"content-length",
    b"content-type",
    b"idempotency-key",
)
_LENGTH_DIGITS_UNCHECKED: Final = 5
"""A length of fewer digits is below every limit."""
_REPLAY: Final = (b"idempotency-replayed", b"true")


_SOLD_OUT_OUTCOME: Final = (SoldOut.status, SoldOut.code)

Outcome = tuple[int, str]
"""What was answered: the status, and the code of a problem or nothing."""
Answering = Callable[[Scope, Receive, Send], Awaitable[Outcome]]


class HotRoutes:
    """The handlers of the four routes of the hot path."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lanes = services.lanes
        self._sign = services.signer.sign
        self._keyring = services.keyring
        self._counters = services.counters
        self._sold_out: dict[str, tuple[BatchReply, Message, Message]] = {}
        self._exact: Mapping[str, ASGIHandler] = {
            _RESERVATIONS: self._guarded(_RESERVATIONS, self._reserve),
            f"{_RESERVATIONS}/batch": self._guarded(f"{_RESERVATIONS}/batch", self._batch),
        }
        one = f"{_RESERVATIONS}/{{reservation_id}}"
        self._confirm_handler = self._guarded(f"{one}/confirm", self._confirm)
        self._cancel_handler = self._guarded(f"{one}/cancel", self._cancel)

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
        return None

    def _guarded(self, route: str, handler: Answering) -> ASGIHandler:
        """Errors become problems; a client that is gone gets none; every answer is counted."""
        answered = self._services.counters.answered

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                answered("POST", route, *await handler(scope, receive, send))
            except FlashstockError as error:
                answered("POST", route, *await _send_problem(send, error))
            except ClientGone:
                return
            except Exception:
                logger.exception("a lean route failed")
                answered("POST", route, *await _send_problem(send, FlashstockError()))

        return guarded

    async def _reserve(self, scope: Scope, receive: Receive, send: Send) -> Outcome:
        headers = _headers(scope)
        principal = self._admit(headers)
        require_json(headers.get(b"content-type"))
        key = idempotency_key(headers.get(b"idempotency-key"))
        request = decode_reserve(await read_body(scope, receive))
        pool = request.pool
        digest = digest_of("reservation", principal.name, key)
        lane = self._lanes.lane(pool)
        remembered = lane.sold_out(digest)
        if remembered is not None:
            self._counters.sold_out_from_memory += 1
            self._counters.verdicts[_SOLD_OUT] += 1
            return await self._send_sold_out(send, pool, remembered)
        verdicted = await lane.submit(digest, request.buyer, request.quantity)
        verdict = verdicted.verdict
        self._counters.verdicts[verdict] += 1
        if verdict == _HELD:
            body = self._held_body(pool, digest, request.buyer, request.quantity, verdicted.batch)
            return await _send_json(send, 201, orjson.dumps(body))
        if verdict == _REPLAYED:
            body = self._replayed_body(pool, digest, verdicted)
            return await _send_json(send, 200, orjson.dumps(body), _REPLAY)
        if verdict == _SOLD_OUT:
            return await self._send_sold_out(send, pool, verdicted.batch)
        raise refusal_of(verdicted.verdict, pool, verdicted.batch)

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> Outcome:
        headers = _headers(scope)
        principal = self._admit(headers)
        require_json(headers.get(b"content-type"))
        request = decode_batch(await read_body(scope, receive))
        asked: list[tuple[str, asyncio.Future[Verdicted] | FlashstockError]] = []
        for item in request.items:
            digest = digest_of("reservation", principal.name, item.idempotency_key)
            try:
                submitted = self._lanes.submit(item.pool, digest, item.buyer, item.quantity)
                asked.append((digest, submitted))
            except FlashstockError as error:
                asked.append((digest, error))
        answers = []
        for item, (digest, outcome) in zip(request.items, asked, strict=True):
            try:
                if isinstance(outcome, FlashstockError):
                    raise outcome
                verdicted = await outcome
                answers.append(self._item(item.pool, digest, item.buyer, item.quantity, verdicted))
            except FlashstockError as error:
                answers.append(problem_document(error))
        return await _send_json(send, 200, orjson.dumps({"items": answers}))

    def _item(
        self, pool: str, digest: str, buyer: str, quantity: int, verdicted: Verdicted
    ) -> dict[str, Any]:
        self._counters.verdicts[verdicted.verdict] += 1
        if verdicted.verdict == _HELD:
            body = self._held_body(pool, digest, buyer, quantity, verdicted.batch)
            return {"status": 201, **body}
        if verdicted.verdict == _REPLAYED:
            return {"status": 200, **self._replayed_body(pool, digest, verdicted)}
        raise refusal_of(verdicted.verdict, pool, verdicted.batch)

    async def _confirm(self, scope: Scope, receive: Receive, send: Send) -> Outcome:
        headers = _headers(scope)
        self._admit(headers)
        require_json(headers.get(b"content-type"))
        request = decode_confirm(await read_body(scope, receive))
        reservation_id = scope["path"].split("/")[3]
        answer = await self._services.reservations.confirm(
            reservation_id, request.payment_ref, request.receipt
        )
        return await self._send_answer(send, answer)

    async def _cancel(self, scope: Scope, receive: Receive, send: Send) -> Outcome:
        headers = _headers(scope)
        self._admit(headers)
        body = await read_body(scope, receive)
        if body:
            require_json(headers.get(b"content-type"))
            decode_cancel(body)
        answer = await self._services.reservations.cancel(scope["path"].split("/")[3])
        return await self._send_answer(send, answer)

    def _admit(self, headers: Mapping[bytes, bytes]) -> Principal:
        return self._keyring.authorize(headers.get(b"authorization"), Role.STOREFRONT)

    def _held_body(
        self, pool: str, digest: str, buyer: str, quantity: int, batch: BatchReply
    ) -> dict[str, Any]:
        """What ``reservation_body`` says of a hold just granted, without building a record."""
        reservation_id = f"{pool}~{digest}"
        stamp, expires_at = _shared_by_batch(batch.deadline_ms, batch.generation, batch.first_seq)
        return {
            "id": reservation_id,
            "pool": pool,
            "buyer": buyer,
            "quantity": quantity,
            "state": "held",
            "expires_at": expires_at,
            "receipt": self._sign(reservation_id, buyer, quantity, stamp),
        }

    def _replayed_body(self, pool: str, digest: str, verdicted: Verdicted) -> dict[str, Any]:
        assert verdicted.replay is not None
        record = unpack_record(verdicted.replay.decode())
        target = parse_reservation_id(f"{pool}~{digest}")
        assert target is not None
        view = self._services.reservations.view(target, record, verdicted.batch.now_ms)
        return reservation_body(view, self._services.signer)

    async def _send_sold_out(self, send: Send, pool: str, batch: BatchReply) -> Outcome:
        """The most frequent answer of a flash sale: encoded once per batch that said it."""
        cached = self._sold_out.get(pool)
        if cached is None or cached[0] is not batch:
            status, headers, body = problem_response_parts(refusal_of(_SOLD_OUT, pool, batch))
            start = {"type": "http.response.start", "status": status, "headers": headers}
            cached = (batch, start, {"type": "http.response.body", "body": body})
            if len(self._sold_out) > 10_000:
                self._sold_out.clear()
            self._sold_out[pool] = cached
        await send(cached[1])
        await send(cached[2])
        return _SOLD_OUT_OUTCOME

    async def _send_answer(self, send: Send, answer: Answer) -> Outcome:
        body = orjson.dumps(reservation_body(answer.view, self._services.signer))
        if answer.replayed:
            return await _send_json(send, 200, body, _REPLAY)
        return await _send_json(send, 200, body)


@lru_cache(maxsize=4096)
def _shared_by_batch(deadline_ms: int, generation: str, first_seq: int) -> tuple[str, str]:
    """(receipt stamp, expires_at) of all holds of one batch."""
    return receipt_stamp(deadline_ms, generation, first_seq), format_time(deadline_ms)


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """The request's headers. Raises ``InvalidRequest`` where one that decides is there twice."""
    headers = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        for name in _DECIDING_HEADERS:
            header_of(scope, name)
    if len(headers.get(b"content-length", b"")) >= _LENGTH_DIGITS_UNCHECKED:
        check_content_length(scope)
    return headers


async def _send_json(send: Send, status: int, body: bytes, *more: tuple[bytes, bytes]) -> Outcome:
    headers = [_JSON, _NO_STORE, (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status, ""


async def _send_problem(send: Send, error: FlashstockError) -> Outcome:
    status, headers, body = problem_response_parts(error)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status, error.code
