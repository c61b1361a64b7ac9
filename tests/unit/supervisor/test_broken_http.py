"""What is not HTTP is refused in its turn, and as a problem document."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.supervisor.test_short_cut import (
    ORDINARY,
    PATIENCE_S,
    UNUSUAL,
    App,
    answer_of,
    connected,
    request,
    served,
    until,
)

CHUNKED = b"Transfer-Encoding: chunked"
BROKEN = {
    "a line": b"GARBAGE\r\n\r\n",
    "a header": b"POST /v1/lean HTTP/1.1\r\nno colon\r\n\r\n",
    "a target": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a body": request(b"zz\r\n\r\n", CHUNKED),
    "a body, later": request(b"1\r\na\r\nzz\r\n\r\n", CHUNKED),
}


async def is_refused(reader: asyncio.StreamReader) -> None:
    status, headers, body = await answer_of(reader)
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert b'"code":"malformed_request"' in body
    assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


@pytest.mark.parametrize("what", BROKEN)
async def test_by_itself_it_is_refused_at_once_and_nobody_answers_it(what):
    app = App(hold_back=True)
    async with served(app) as (host, port, _), connected(host, port) as (reader, writer):
        writer.write(BROKEN[what] + ORDINARY)
        await is_refused(reader)
    assert not app.held_back


@pytest.mark.parametrize(
    "ways", [["short"], ["asgi"], ["short", "asgi"], ["asgi"] * 3], ids=", ".join
)
@pytest.mark.parametrize("what", BROKEN)
async def test_behind_others_it_is_refused_once_they_are_answered(what, ways):
    """Else its refusal would be taken for the answer to a request that was granted."""
    app = App(hold_back=True)
    async with served(app) as (host, port, _), connected(host, port) as (reader, writer):
        first = ORDINARY if ways[0] == "short" else UNUSUAL["a query"]
        writer.write(first + ORDINARY * (len(ways) - 1) + BROKEN[what] + ORDINARY)
        for _ in ways:
            await until(lambda: bool(app.held_back))
            await asyncio.sleep(0.01)
            app.held_back.pop()()
            assert (await answer_of(reader))[0] == 201
        await is_refused(reader)
        assert app.ways == ways


@pytest.mark.parametrize("what", BROKEN)
async def test_behind_an_answer_that_was_given_it_is_refused_at_once(what):
    app = App()
    async with served(app) as (host, port, _), connected(host, port) as (reader, writer):
        for sent in (ORDINARY, UNUSUAL["a query"]):
            writer.write(sent)
            assert (await answer_of(reader))[0] == 201
        writer.write(BROKEN[what])
        await is_refused(reader)
