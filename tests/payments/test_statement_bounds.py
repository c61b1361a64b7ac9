"""Statements at the edges: of the calendar, and of what one file may hold."""

from __future__ import annotations

from sqlalchemy.event import listen, remove

HEAD = b"payment_ref,amount_minor,currency,kind,at,status\n"
PATH = "/v1/payments/statements?gateway=g&day="


async def test_the_last_day_of_all_is_refused_and_breaks_nothing(caller):
    response = await caller.send("POST", f"{PATH}9999-12-31", HEAD, role="ops")
    await caller.refused(response, 422, "invalid_request")


async def test_a_wrong_file_keeps_nobody_waiting_for_every_line(caller, engine):
    """While a statement is taken nobody moves stock, so cases are not written one by one."""
    line = "gw-%d,1,EUR,payment,2026-11-22T11:02:03Z,succeeded\n"
    body = HEAD + "".join(line % number for number in range(2_000)).encode()
    counted = []

    def count(*_):
        counted.append(1)

    listen(engine.sync_engine, "before_cursor_execute", count)
    try:
        response = await caller.send("POST", f"{PATH}2026-11-22", body, role="ops")
    finally:
        remove(engine.sync_engine, "before_cursor_execute", count)
    assert response.json()["cases_opened"] == 2_000
    assert len(counted) < 200
