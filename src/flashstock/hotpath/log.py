"""The shard's log as a reader sees it, and the announcements that follow it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from flashstock.errors import Overloaded, Unavailable
from flashstock.hotpath import keys
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.position import Position, read_position
from flashstock.model.events import LogEntry, MalformedEntry

logger = logging.getLogger(__name__)

LOG_START: Final = "0-0"
BACK_PAGE: Final = 500
CONTINUED_PAGE: Final = 32
"""Entries looked at beyond a full page: does the decision go on?"""
NO_DATA_SET: Final = -1


class LogPosition(NamedTuple):
    """Which data set the log is of, and how far it goes."""

    generation: str
    """A recoverer's token while the shard is being recovered; empty where there is no data set."""
    seq: int
    """The last number the scripts gave out; ``NO_DATA_SET`` where there is none."""


def decode_entry(shard: int, stream_id: bytes, fields: Mapping[bytes, bytes]) -> LogEntry:
    """One stream entry as a ``LogEntry``.

    Raises:
        MalformedEntry: not even the envelope can be read, so its place in the sequence is unknown.
    """
    try:
        return LogEntry(
            shard=shard,
            generation=int(fields[b"generation"]),
            seq=int(fields[b"seq"]),
            count=int(fields[b"count"]),
            # Bytes that are no text go on as lone surrogates, which the ledger quarantines.
            kind=fields[b"kind"].decode(errors="surrogateescape"),
            payload=fields[b"payload"].decode(errors="surrogateescape"),
            stream_id=stream_id.decode(),
            patient=b"patient" in fields,
            continues=b"continues" in fields,
        )
    except (KeyError, ValueError) as problem:
        raise MalformedEntry(f"log entry {stream_id!r} can't be read: {problem!r}") from problem


class ShardLog:
    """One shard's log. Entries are read by position and never consumed: the cursor is in SQL.

    An entry of which not even the number can be read is left out and logged: no script of ours
    wrote it. If it stands in the place of one, the numbers have a gap, and that nobody passes.

    All methods raise ``Unavailable`` when the server does not answer.
    """

    def __init__(self, client: Redis, shard: int) -> None:
        self._client = client
        self._shard = shard
        self._key = keys.shard_log(shard)
        self._channel = keys.applied_channel(shard)
        self._last_unreadable = b""

    async def read(
        self, after: str, *, entries_max: int, block_ms: int | None = None
    ) -> list[LogEntry]:
        """Entries after a stream id, oldest first; waits up to ``block_ms`` for the first.

        What was decided in one step is never cut in two: of that, more may be read.
        """
        while True:
            page = await self._page(after, entries_max, block_ms)
            if not page:
                return []
            if entries := self._readable(page):
                break
            after = page[-1][0].decode()
        while len(page) == entries_max:
            after, entries_max = page[-1][0].decode(), CONTINUED_PAGE
            page = await self._page(after, entries_max, None)
            rest = list(takewhile(lambda entry: entry.continues, self._readable(page)))
            if rest and not await self.holds(Position(entries[-1].last_seq, after)):
                raise Unavailable("the log has become another one while it was read")
            entries += rest
            if len(rest) < len(page):
                break
        return entries

    async def _page(self, after: str, count: int, block_ms: int | None) -> Any:
        with translated_failures():
            answer: Any = await self._client.xread({self._key: after}, count=count, block=block_ms)
        return answer[0][1] if answer else []

    async def read_all(self, after: str, entries_max: int) -> AsyncIterator[list[LogEntry]]:
        """Pages of entries until the end of the log as it is when it is reached."""
        while page := await self.read(after, entries_max=entries_max):
            yield page
            after = page[-1].stream_id

    async def between(self, after_seq: int, up_to_seq: int, entries_max: int) -> list[LogEntry]:
        """Entries with all their events in ``(after_seq, up_to_seq]``, oldest first.

        Raises:
            Overloaded: there are more than ``entries_max``.
        """
        found: list[LogEntry] = []
        newest = "+"
        while len(found) <= entries_max:
            with translated_failures():
                answer: Any = await self._client.xrevrange(self._key, max=newest, count=BACK_PAGE)
            for entry in self._readable(answer):
                if entry.last_seq <= after_seq:
                    return found[::-1]
                if entry.last_seq <= up_to_seq:
                    found.append(entry)
            if len(answer) < BACK_PAGE:
                return found[::-1]
            newest = f"({answer[-1][0].decode()}"
        raise Overloaded(f"shard {self._shard}: the writer is more than {entries_max} entries late")

    async def position(self) -> LogPosition:
        """Where the log stands, and in which data set."""
        with translated_failures():
            answer: Any = await self._client.hmget(
                keys.shard_meta(self._shard), ["generation", "seq"]
            )
        generation, seq = answer
        return LogPosition(
            (generation or b"").decode(), int(seq) if seq is not None else NO_DATA_SET
        )

    async def holds(self, position: Position) -> bool:
        """Whether this is the log that SQL followed up to a position, and not one that went another
        way before: there other decisions have its numbers.

        Where the entry and all before it are gone (trimmed, or rebuilt), nothing says otherwise.
        """
        log_id = position.log_id or LOG_START
        with translated_failures():
            found: Any = await self._client.xrevrange(self._key, max=log_id, count=1)
        if found and found[0][0].decode() == log_id:
            return True
        oldest = self._readable(await self._page(LOG_START, CONTINUED_PAGE, None))
        return not oldest or oldest[0].seq > position

    async def seq(self) -> int:
        """The last sequence number the scripts gave out, or -1 where there is no data set."""
        return (await self.position()).seq

    async def announce(
        self,
        generation: int,
        position: Position,
        recorded_after: int,
        decided: Sequence[Position] = (),
    ) -> None:
        """Tell every process that SQL has everything up to a position, and refused nothing of what
        comes after ``recorded_after``. Of what is before it the hearer may know, or ask SQL.

        Args:
            decided: all decisions between the two.
        """
        words = [str(generation), position.text(), str(recorded_after)]
        words += [one.text() for one in decided]
        with translated_failures():
            await self._client.publish(self._channel, " ".join(words))

    async def trim(self, oldest_id: str) -> None:
        """Drop entries older than ``oldest_id``; only ever called for what SQL has."""
        with translated_failures():
            await self._client.xtrim(self._key, minid=oldest_id, approximate=True)

    def _readable(self, page: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> list[LogEntry]:
        entries = []
        for stream_id, fields in page:
            try:
                entries.append(decode_entry(self._shard, stream_id, fields))
            except MalformedEntry as problem:
                if stream_id != self._last_unreadable:
                    logger.error("shard %d: left out: %s", self._shard, problem)
                self._last_unreadable = stream_id
        return entries


async def follow_announcements(
    client: Redis,
    shard_count: int,
    announce: Callable[[int, str, Position, int, Sequence[Position]], None],
) -> None:
    """Call ``announce(shard, generation, position, recorded_after, decided)`` for every one, until
    cancelled.

    A missed message does no harm: the next one covers it, and waiters also poll the cursor.
    Raises ``Unavailable`` when the connection is lost; the caller subscribes again.
    """
    channels = {keys.applied_channel(shard).encode(): shard for shard in range(shard_count)}
    with translated_failures():
        async with client.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(*channels)
            async for message in subscription.listen():
                generation, position, recorded_after, *decided = message["data"].split()
                announce(
                    channels[message["channel"]],
                    generation.decode(),
                    read_position(position),
                    int(recorded_after),
                    [read_position(text) for text in decided],
                )
