"""Reservations: find one, or a buyer's; look at it, give it time, release it."""

from __future__ import annotations

import re
from typing import Final

from starlette.responses import RedirectResponse, Response

from flashstock.api.schemas import ExtendRequest
from flashstock.console.routing import Asked, Done, action, page, path_to
from flashstock.errors import UnknownReservation
from flashstock.model.ids import POOL_ID_PATTERN, parse_reservation_id
from flashstock.model.rules import BUYER_LENGTH_MAX, NO_DEADLINE_MS
from flashstock.model.states import GroupState, ReservationState
from flashstock.service.views import ReservationView

PAGE_ROWS: Final = 50

_POOL_ID: Final = re.compile(POOL_ID_PATTERN)


async def search(asked: Asked) -> Response:
    """By id, order number or payment: that reservation. Else the text is taken for a buyer."""
    wanted, pool, after = asked.wanted("q"), asked.wanted("pool"), asked.wanted("after")
    queries = asked.services.queries
    if wanted and (found := await _named(asked, wanted)):
        return RedirectResponse(path_to("reservations", found), 303)
    knows_pool = _POOL_ID.fullmatch(pool) is not None
    buyer = wanted if len(wanted) <= BUYER_LENGTH_MAX else ""
    held, sold, listed = [], [], []
    if buyer and not pool:
        held = await queries.holds_of_buyer(buyer, PAGE_ROWS)
        sold = await queries.sales_to_buyer(buyer, PAGE_ROWS)
    elif buyer and knows_pool:
        listed = await queries.of_buyer_in_pool(buyer, pool, after, PAGE_ROWS)
    elif knows_pool:
        listed = await queries.pool_reservations(pool, after, PAGE_ROWS)
    return asked.render(
        "reservations.html",
        wanted=wanted,
        pool=pool,
        held=held,
        sold=sold,
        listed=listed,
        rows_max=PAGE_ROWS,
        next_after=listed[-1].id if len(listed) == PAGE_ROWS else None,
        no_deadline_ms=NO_DEADLINE_MS,
    )


async def reservation(asked: Asked) -> Response:
    """One, as Redis has it this instant, and what SQL has written down of it."""
    reservation_id = asked.named("reservation")
    view = await asked.services.reservations.get(reservation_id)
    ends_unpaid = view.state in (ReservationState.HELD, ReservationState.ORDERED)
    return asked.render(
        "reservation.html",
        view=view,
        stored=await asked.services.queries.reservation(reservation_id),
        may_extend=ends_unpaid,
        may_end=ends_unpaid or await _is_paid_seat_of_open_group(asked, view),
        no_deadline_ms=NO_DEADLINE_MS,
    )


async def release(asked: Asked) -> Done:
    """Take a hold from its buyer: the units are for sale again. So is a seat in an open group,
    and what was paid for it is due back.
    """
    reservation_id = asked.named("reservation")
    answer = await asked.services.reservations.cancel(reservation_id, "revoked")
    quantity, pool = answer.view.record.quantity, answer.view.record.pool
    said = f"Released: {quantity:,} units are back in {pool}."
    if answer.view.group:
        due = answer.view.state is ReservationState.REFUNDED
        said = f"Released: the seat is free again{', and a refund is due' if due else ''}."
    if answer.replayed:
        said = "It had been released before: nothing changed."
    return Done(path_to("reservations", reservation_id), said)


async def extend(asked: Asked) -> Done:
    """Give the buyer more time."""
    reservation_id = asked.named("reservation")
    request = asked.validated(ExtendRequest, {"seconds": asked.whole_number("seconds")})
    answer = await asked.services.reservations.extend(reservation_id, request.seconds)
    said = "The deadline was later already: nothing changed."
    if not answer.replayed:
        said = f"The hold now lasts {request.seconds:,} s from now."
    return Done(path_to("reservations", reservation_id), said)


async def _is_paid_seat_of_open_group(asked: Asked, view: ReservationView) -> bool:
    if not view.group or view.state not in (ReservationState.PAID, ReservationState.CONFIRMED):
        return False
    group = await asked.services.groups.get(view.group)
    return group.record.state is GroupState.OPEN


async def _named(asked: Asked, text: str) -> str | None:
    """The id of the reservation that a text names, if it names one."""
    if parse_reservation_id(text) is not None:
        try:
            return (await asked.services.reservations.get(text)).id
        except UnknownReservation:
            return None
    return await asked.services.queries.reservation_of_payment(text)


ROUTES = (
    page("/reservations", search),
    page("/reservations/{reservation}", reservation),
    action("/reservations/{reservation}/release", release),
    action("/reservations/{reservation}/extend", extend),
)
