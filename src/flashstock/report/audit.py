"""The check that trusts nobody's books: what the service acknowledged against what it has now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from flashstock.client import Pool, Refund, Reservation
from flashstock.errors import UnknownPool, UnknownReservation
from flashstock.model.states import ReservationState

SOLD_STATES: Final = frozenset({ReservationState.CONFIRMED, ReservationState.RETURNED})
FINDINGS_KEPT_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the service last said about one reservation, and so must still say.

    Args:
        states: the states that are right by now.
        order_no: compared where it was told.
        returned: units that were brought back; ``None`` where no answer told.
    """

    reservation: str
    pool: str
    buyer: str
    quantity: int
    states: frozenset[ReservationState]
    payment_ref: str | None = None
    order_no: str | None = None
    returned: int | None = None


@dataclass(frozen=True, slots=True)
class PoolExpected:
    """What the acknowledgements say about one pool.

    Args:
        uncertain: units whose fate no answer told; by so many the counters may differ.
    """

    pool: str
    total: int
    held: int
    sold: int
    uncertain: int = 0


@dataclass(slots=True)
class Findings:
    """What the check found. ``described`` holds the first few in words."""

    reservations_checked: int = 0
    pools_checked: int = 0
    lost: int = 0
    oversold: int = 0
    differences: int = 0
    described: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.differences += 1
        if len(self.described) < FINDINGS_KEPT_MAX:
            self.described.append(text)


class Books(Protocol):
    """Where the service's present state is read."""

    async def reservation(self, reservation: str) -> Reservation: ...

    async def pool(self, pool: str) -> Pool: ...

    def refunds(self) -> AsyncIterator[Refund]: ...


async def audit(
    books: Books,
    acknowledged: Iterable[Acknowledged],
    pools: Sequence[PoolExpected],
    refunds_due: Mapping[str, str] | None = None,
    concurrency: int = 32,
) -> Findings:
    """Ask for every reservation, every pool and the refunds, and compare.

    Lost is a reservation that is unknown, one that was paid and is not sold, and a payment that
    the service said is due back and has not on record; oversold are units that a pool has held
    and sold beyond its total. Both are differences as well.

    Args:
        refunds_due: payment reference → reservation, of the payments that are due back.
        concurrency: requests under way at once.
    """
    findings = Findings()
    promises, expected = iter(acknowledged), iter(pools)

    async def work() -> None:
        for promise in promises:
            await _check_reservation(books, promise, findings)
        for pool in expected:
            await _check_pool(books, pool, findings)

    await asyncio.gather(*(work() for _ in range(concurrency)))
    if refunds_due:
        await _check_refunds(books, refunds_due, findings)
    return findings


async def _check_reservation(books: Books, promise: Acknowledged, findings: Findings) -> None:
    findings.reservations_checked += 1
    try:
        found = await books.reservation(promise.reservation)
    except UnknownReservation:
        findings.lost += 1
        findings.note(f"{promise.reservation}: acknowledged, and unknown now")
        return
    said = (promise.pool, promise.buyer, promise.quantity)
    if (found.pool, found.buyer, found.quantity) != said:
        findings.note(f"{found.id}: {found.pool} {found.buyer} {found.quantity}, not {said}")
    if found.state not in promise.states:
        right = " or ".join(sorted(promise.states))
        findings.note(f"{found.id}: is {found.state}, not {right}")
        if promise.states <= SOLD_STATES and found.state not in SOLD_STATES:
            findings.lost += 1
    if promise.payment_ref is not None and found.payment_ref != promise.payment_ref:
        findings.note(f"{found.id}: paid by {found.payment_ref}, not {promise.payment_ref}")
    if promise.order_no is not None and found.order_no != promise.order_no:
        findings.note(f"{found.id}: order {found.order_no}, not {promise.order_no}")
    if promise.returned is not None and found.returned != promise.returned:
        findings.note(f"{found.id}: {found.returned} units returned, not {promise.returned}")


async def _check_refunds(books: Books, due: Mapping[str, str], findings: Findings) -> None:
    on_record = {refund.payment_ref: refund.reservation async for refund in books.refunds()}
    for payment_ref, reservation in due.items():
        if payment_ref not in on_record:
            findings.lost += 1
            findings.note(f"{reservation}: a refund of {payment_ref} is due, and not on record")
        elif on_record[payment_ref] != reservation:
            findings.note(
                f"{reservation}: the refund of {payment_ref} is due to {on_record[payment_ref]}"
            )


async def _check_pool(books: Books, expected: PoolExpected, findings: Findings) -> None:
    findings.pools_checked += 1
    try:
        found = await books.pool(expected.pool)
    except UnknownPool:
        findings.note(f"{expected.pool}: the pool was opened, and is unknown now")
        return
    beyond = found.held + found.sold - found.total
    if beyond > 0:
        findings.oversold += beyond
        findings.note(f"{found.id}: {beyond} units held and sold beyond {found.total}")
    parts = (found.available, found.held, found.sold, found.locked)
    if min(parts) < 0 or sum(parts) != found.total:
        findings.note(f"{found.id}: available, held, sold, locked {parts} of {found.total}")
    for name, is_now, was in (
        ("in all", found.total, expected.total),
        ("held", found.held, expected.held),
        ("sold", found.sold, expected.sold),
    ):
        if abs(is_now - was) > expected.uncertain:
            findings.note(f"{found.id}: {is_now} units {name}, acknowledged: {was}")
