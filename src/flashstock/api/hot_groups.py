"""The lean routes of group-buys: open a group, or join one. Everybody wants the same few seats, so
they go through lanes as reservations do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from flashstock.api.asgi import Receive, Scope, read_body
from flashstock.api.auth import Principal, Role
from flashstock.api.bodies import deadline_or_none, receipt_stamp, reservation_body
from flashstock.api.bodies_groups import progress_body, seat_refusal_of
from flashstock.api.lean import HEADERS, REPLAY_HEADERS, LeanAnswer, Respond, failed, headers_of
from flashstock.api.requests import attested, idempotency_key, require_json
from flashstock.api.requests_groups import decode_join, decode_open, units_of
from flashstock.api.services import Services
from flashstock.errors import UnknownGroup, UnknownPool
from flashstock.hotpath.asking import Asking
from flashstock.hotpath.group_calls import MATCH, OPEN, join
from flashstock.hotpath.group_replies import SeatsReply
from flashstock.hotpath.replies import BatchReply
from flashstock.hotpath.scripts import Verdict
from flashstock.model.group_records import group_of_cart
from flashstock.model.ids import (
    DIGEST_LENGTH,
    FIELD_SEPARATOR,
    digest_of,
    parse_reservation_id,
)
from flashstock.model.records import STATE_LETTERS, unpack_record

GROUPS_PATH: Final = "/v1/groups"
_HELD: Final = int(Verdict.HELD)


@lru_cache(maxsize=4_096)
def _shared(head: bytes, generation: bytes, seq: bytes) -> tuple[str, str, str | None]:
    """State, receipt stamp and expires_at of all seats of one log entry."""
    deadline_ms = int(head[1:])
    stamp = receipt_stamp(deadline_ms, generation.decode(), int(seq))
    return STATE_LETTERS[head[:1].decode()].value, stamp, deadline_or_none(deadline_ms)


class _Seat:
    """One seat that is asked for."""

    __slots__ = (
        "_group",
        "_pool",
        "_respond",
        "_routes",
        "attests",
        "buyer",
        "digest",
        "quantity",
        "wants",
    )

    def __init__(
        self,
        routes: SeatRoutes,
        pool: str,
        group: str | None,
        digest: str,
        buyer: str,
        quantity: int,
        wants: str,
        attests: str,
        respond: Respond,
    ) -> None:
        self._routes = routes
        self._pool = pool
        self._group = group
        self.digest = digest
        self.buyer = buyer
        self.quantity = quantity
        self.wants = wants
        self.attests = attests
        self._respond = respond

    def decided(self, verdict: int, batch: BatchReply, replay: bytes | None) -> None:
        try:
            if replay is None:
                self._routes.count_refusal(self._pool, verdict)
                assert isinstance(batch, SeatsReply)
                raise seat_refusal_of(verdict, self._pool, self._group, batch, self.attests)
            body = orjson.dumps(self._routes.body(self._pool, self, verdict, batch, replay))
            if verdict == _HELD:
                answer = LeanAnswer(201, HEADERS, body)
            else:
                answer = LeanAnswer(200, REPLAY_HEADERS, body)
        except Exception as failure:  # noqa: BLE001 (logged and answered: a lane must go on)
            answer = failed(failure)
        self._respond(answer)

    def failed(self, failure: Exception) -> None:
        if isinstance(failure, UnknownPool) and self._group is not None:
            group = f"{self._pool}~{self._group}"
            failure = UnknownGroup(f"there is no group {group}", group=group)
        self._respond(failed(failure))


class SeatRoutes:
    """The handlers of the two routes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._verdicts = services.counters.verdicts
        self._told_of: SeatsReply | None = None
        self._told: dict[str, dict[str, Any] | None] = {}

    def open(self, headers: Mapping[bytes, bytes], body: bytes, respond: Respond) -> None:
        """``POST /v1/groups``: a group of one's own, or, with ``match``, one that is open."""
        principal = self._admit(headers)
        require_json(headers.get(b"content-type"))
        key = idempotency_key(headers.get(b"idempotency-key"))
        request = decode_open(body)
        seat = _Seat(
            self,
            request.pool,
            None,
            digest_of("reservation", principal.name, key),
            request.buyer,
            units_of(request.quantity),
            MATCH if request.match is True else OPEN,
            attested(request.attests),
            respond,
        )
        self._services.seats.ask(request.pool, seat)

    async def join(self, scope: Scope, receive: Receive) -> LeanAnswer:
        """``POST /v1/groups/{group_id}/join``."""
        headers = headers_of(scope)
        principal = self._admit(headers)
        require_json(headers.get(b"content-type"))
        key = idempotency_key(headers.get(b"idempotency-key"))
        request = decode_join(await read_body(scope, receive))
        text: str = scope["path"].split("/")[3]
        target = parse_reservation_id(text)
        if target is None:
            raise UnknownGroup(f"{text[:100]!r} is not a group id", group=text[:100])
        coming: asyncio.Future[LeanAnswer] = asyncio.get_running_loop().create_future()

        def respond(answer: LeanAnswer) -> None:
            if not coming.done():
                coming.set_result(answer)

        seat = _Seat(
            self,
            target.pool,
            target.digest,
            digest_of("reservation", principal.name, key),
            request.buyer,
            units_of(request.quantity),
            join(target.digest),
            attested(request.attests),
            respond,
        )
        self._services.seats.ask(target.pool, seat)
        return await coming

    def body(
        self, pool: str, seat: Asking, verdict: int, batch: BatchReply, packed: bytes
    ) -> dict[str, Any]:
        """The reservation that was made or found, and how far its group is."""
        self._verdicts[verdict] += 1
        assert isinstance(batch, SeatsReply)
        if verdict == _HELD:
            return self._taken(pool, seat, batch, packed)
        record = unpack_record(packed.decode())
        target = parse_reservation_id(f"{pool}~{seat.digest}")
        assert target is not None
        view = self._services.reservations.view(target, record, batch.now_ms)
        body = reservation_body(view, self._services.signer)
        progress = self._progress_of(batch, group_of_cart(record.cart))
        return body if progress is None else {**body, "group_now": progress}

    def _taken(self, pool: str, seat: Asking, batch: SeatsReply, packed: bytes) -> dict[str, Any]:
        """What is said of a seat just granted, without building a record. It is not paid: its
        record ends with the digest of its group.
        """
        state, stamp, expires_at = _shared(*packed.split(FIELD_SEPARATOR.encode(), 3)[:3])
        reservation_id, group = f"{pool}~{seat.digest}", packed[-DIGEST_LENGTH:].decode()
        return {
            "id": reservation_id,
            "pool": pool,
            "buyer": seat.buyer,
            "quantity": seat.quantity,
            "state": state,
            "expires_at": expires_at,
            "receipt": self._services.signer.sign(reservation_id, seat.buyer, seat.quantity, stamp),
            "group": f"{pool}~{group}",
            "group_now": self._progress_of(batch, group),
        }

    def _progress_of(self, batch: SeatsReply, group: str) -> dict[str, Any] | None:
        """How far a group is after a batch: the same to all who got into it together."""
        if batch is not self._told_of:
            self._told_of, self._told = batch, {}
        if group not in self._told:
            record = batch.group(group)
            shown = None if record is None else progress_body(record, batch.now_ms)
            self._told[group] = shown
        return self._told[group]

    def count_refusal(self, pool: str, verdict: int) -> None:
        """For the metrics and the statistics."""
        self._verdicts[verdict] += 1
        self._services.counters.refused(pool, verdict)

    def _admit(self, headers: Mapping[bytes, bytes]) -> Principal:
        return self._services.keyring.authorize(headers.get(b"authorization"), Role.STOREFRONT)
