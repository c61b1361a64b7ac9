"""Raw HTTP/1.1 over sockets, for what a proper client would never send, and its answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from flashstock import errors
from flashstock.errors import FlashstockError, Unavailable
from flashstock.model.ids import parse_reservation_id

PATIENCE_SECONDS: Final = 60.0
_HEAD: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ?[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")


@dataclass(frozen=True)
class Answer:
    """One answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def undated(self) -> tuple[int, dict[str, str], bytes]:
        """All of it but when it was given and under which id."""
        passing = ("date", "x-request-id")
        kept = {name: value for name, value in self.headers.items() if name not in passing}
        return self.status, kept, self.body


class Line:
    """A connection that is opened when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self._where = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, pieces: Sequence[bytes], *, head_only: bool) -> Answer:
        """The answer to one whole request; the connection stays open unless that says otherwise."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._where, limit=2**24)
        reader, writer = self._streams
        async with asyncio.timeout(PATIENCE_SECONDS):
            await _send(writer, pieces)
            status, headers = _read_head(await reader.readuntil(b"\r\n\r\n"))
            while status < 200:
                status, headers = _read_head(await reader.readuntil(b"\r\n\r\n"))
            length = 0 if head_only else _length(headers)
            body = await reader.readexactly(length)
        if headers.get("connection") == "close":
            self.close()
        return Answer(status, headers, body)

    async def all_answers(
        self, pieces: Sequence[bytes], *, head_only: bool, half_close: bool
    ) -> tuple[list[Answer], bool]:
        """All that comes back on a connection of its own until the server ends it.

        Also whether it ended in order: else the last of it may not have reached us.
        """
        reader, writer = await asyncio.open_connection(*self._where, limit=2**24)
        received, in_order = b"", False
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await _send(writer, pieces)
                if half_close:
                    writer.write_eof()
                while more := await reader.read(2**16):
                    received += more
            in_order = True
        except (ConnectionResetError, BrokenPipeError):
            # How a server ends a connection on which it has left something unread.
            received += bytes(getattr(reader, "_buffer", b""))
        finally:
            writer.transport.abort()
        return list(_split(received, head_only=head_only)), in_order

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def _send(writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0)


def _length(headers: dict[str, str]) -> int:
    assert "transfer-encoding" not in headers, headers
    return int(headers.get("content-length", "0"))


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    match = _HEAD.fullmatch(head)
    assert match is not None, head
    lines = match[2].decode("latin-1").split("\r\n")[:-1]
    pairs = (line.split(": ", 1) for line in lines)
    return int(match[1]), {name.lower(): value for name, value in pairs}


def _split(received: bytes, *, head_only: bool) -> Iterator[Answer]:
    """The answers in what was received; the first one has no body if it is ``head_only``."""
    at = 0
    while at < len(received):
        match = _HEAD.match(received, at)
        assert match is not None, received[at : at + 200]
        status, headers = _read_head(match[0])
        at = match.end()
        if status < 200:
            continue
        length = _length(headers)
        if head_only and (at == len(received) or received.startswith(b"HTTP/1.1 ", at)):
            length = 0
        head_only = False
        assert len(received) - at >= length, "an answer was cut off"
        yield Answer(status, headers, received[at : at + length])
        at += length


@cache
def known_codes() -> dict[str, int]:
    """Every code a caller can meet, with its status: those of families are nobody's answer."""
    found = [FlashstockError]
    for one in found:
        found += [
            child for child in one.__subclasses__() if child.__module__.startswith(errors.__name__)
        ]
    return {one.code: one.status for one in found if not one.__subclasses__() or one is Unavailable}


def check(answer: Answer, *, head_only: bool = False) -> None:
    """Success, or a problem of a known code; never a failure of ours without an explanation."""
    if answer.status < 400:
        return
    assert answer.headers["content-type"] == "application/problem+json", answer
    assert answer.headers["cache-control"] == "no-store", answer
    if head_only and not answer.body:
        assert answer.status < 500, answer
        return
    problem = json.loads(answer.body)
    assert problem["status"] == answer.status == known_codes()[problem["code"]], answer
    assert problem["type"] == f"urn:flashstock:problem:{problem['code']}", answer
    assert problem["title"], answer
    assert answer.status < 500, answer
    assert (answer.status == 405) == ("allow" in answer.headers), answer


def reservations_in(answer: Answer) -> Iterator[str]:
    """The ids of all reservations that an answer confirms."""
    if answer.body and answer.status < 300 and "json" in answer.headers["content-type"]:
        yield from _ids(json.loads(answer.body))


def _ids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        found = value.get("id")
        if isinstance(found, str) and parse_reservation_id(found) is not None:
            yield found
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _ids(inner)
