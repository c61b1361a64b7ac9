"""The data set of the simulated server: the commands our scripts and clients use, and a log of
effects from which any earlier state can be brought back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from redis.exceptions import ResponseError

Effect = tuple[Any, ...]
WRITES: Final = frozenset(
    {"HSET", "HDEL", "HINCRBY", "SET", "DEL", "UNLINK", "XADD", "XTRIM", "ZADD", "ZREM", "FLUSHALL"}
)


class StreamEntry(NamedTuple):
    """``position`` is the id as numbers; ``fields`` are field, value, … as they were added."""

    position: tuple[int, int]
    id: bytes
    fields: tuple[bytes, ...]


def as_bytes(value: Any) -> bytes:
    """How a client, or Lua, hands an argument to the server."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, float):
        return b"%.17g" % value
    return b"%d" % value


def stream_position(text: bytes) -> tuple[int, int]:
    """``ms-number`` as two numbers that compare; ``(`` in front is left to the caller."""
    milliseconds, _, number = text.partition(b"-")
    return int(milliseconds), int(number or 0)


class DataSet:
    """Keys and values. Every write is also an effect: free of clocks, fit to be replayed."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self.values: dict[bytes, Any] = {}
        self.expires_at_ms: dict[bytes, int] = {}
        self.history: list[list[Effect]] = []
        """The append-only file: one list a script or command, in order."""
        self.unfenced: dict[bytes, bytes] = {}
        """Shard meta → the generation whose scripts the server had before it got these data."""

    def replayed(self, transactions: int) -> DataSet:
        """The data set as it was after the first so many transactions."""
        earlier = DataSet(self._clock_ms)
        earlier.history = self.history[:transactions]
        for effects in earlier.history:
            for effect in effects:
                earlier._dispatch(effect)
        return earlier

    def transaction(self) -> None:
        """What is written from here on stands or falls together."""
        if not self.history or self.history[-1]:
            self.history.append([])

    def execute(self, command: Sequence[Any]) -> Any:
        """One command; reads answer, writes are put on record as effects."""
        name = as_bytes(command[0]).decode().upper()
        arguments = [as_bytes(part) for part in command[1:]]
        if name == "XADD" and arguments[1] == b"*":
            arguments[1] = self._next_id(arguments[0])
        elif name == "SET" and len(arguments) == 4:
            arguments[2:] = [b"PXAT", b"%d" % (self._clock_ms() + int(arguments[3]))]
        if name in WRITES:
            if not self.history:
                self.history.append([])
            self.history[-1].append((name, *arguments))
        return self._dispatch((name, *arguments))

    def _dispatch(self, effect: Effect) -> Any:
        method: Callable[..., Any] | None = getattr(self, f"_{effect[0].lower()}", None)
        if method is None:
            raise ResponseError(f"the simulated server does not know {effect[0]}")
        return method(*effect[1:])

    def _time(self) -> list[bytes]:
        seconds, milliseconds = divmod(self._clock_ms(), 1000)
        return [b"%d" % seconds, b"%d" % (milliseconds * 1000)]

    def _exists(self, key: bytes) -> int:
        return int(self._alive(key) is not None)

    def _alive(self, key: bytes) -> Any:
        at_ms = self.expires_at_ms.get(key)
        if at_ms is not None and at_ms <= self._clock_ms():
            return None
        return self.values.get(key)

    def _hash(self, key: bytes) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self.values.get(key, {})
        return found

    def _hget(self, key: bytes, field: bytes) -> bytes | None:
        return self._hash(key).get(field)

    def _hmget(self, key: bytes, *fields: bytes) -> list[bytes | None]:
        found = self._hash(key)
        return [found.get(field) for field in fields]

    def _hgetall(self, key: bytes) -> list[bytes]:
        return [part for pair in self._hash(key).items() for part in pair]

    def _hset(self, key: bytes, *pairs: bytes) -> int:
        if not pairs or len(pairs) % 2:
            raise ResponseError("wrong number of arguments for 'hset' command")
        target = self.values.setdefault(key, {})
        before = len(target)
        target.update(zip(pairs[0::2], pairs[1::2], strict=True))
        return len(target) - before

    def _hdel(self, key: bytes, *fields: bytes) -> int:
        return self._remove(key, fields)

    def _hincrby(self, key: bytes, field: bytes, delta: bytes) -> int:
        target = self.values.setdefault(key, {})
        value = int(target.get(field, 0)) + int(delta)
        target[field] = b"%d" % value
        return value

    def _hscan(self, key: bytes, *_options: bytes) -> list[Any]:
        return [b"0", self._hgetall(key)]

    def _scan(self, _position: bytes, _match: bytes, pattern: bytes, *_options: bytes) -> list[Any]:
        prefix = pattern.removesuffix(b"*")
        return [b"0", [key for key in self.values if key.startswith(prefix)]]

    def _get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._alive(key)
        return value

    def _set(self, key: bytes, value: bytes, *expiry: bytes) -> str:
        self.values[key] = value
        self.expires_at_ms.pop(key, None)
        if expiry:
            self.expires_at_ms[key] = int(expiry[1])
        return "OK"

    def _del(self, *keys: bytes) -> int:
        for key in keys:
            self.expires_at_ms.pop(key, None)
        return sum(self.values.pop(key, None) is not None for key in keys)

    _unlink = _del

    def _flushall(self) -> str:
        self.values.clear()
        self.expires_at_ms.clear()
        return "OK"

    def _remove(self, key: bytes, members: Sequence[bytes]) -> int:
        target = self.values.get(key, {})
        removed = sum(target.pop(member, None) is not None for member in members)
        if not target:
            self.values.pop(key, None)
        return removed

    def _zadd(self, key: bytes, *rest: bytes) -> int:
        lower_only = rest[0] == b"LT"
        target = self.values.setdefault(key, {})
        for score, member in zip(rest[lower_only::2], rest[lower_only + 1 :: 2], strict=True):
            value = float(score)
            if not lower_only or value < target.get(member, float("inf")):
                target[member] = value
        return 0

    def _zrem(self, key: bytes, *members: bytes) -> int:
        return self._remove(key, members)

    def _zcard(self, key: bytes) -> int:
        return len(self.values.get(key, ()))

    def _ordered(self, key: bytes) -> list[tuple[float, bytes]]:
        return sorted((score, member) for member, score in self.values.get(key, {}).items())

    def _zrange(self, key: bytes, first: bytes, last: bytes, *options: bytes) -> list[bytes]:
        stop = None if last == b"-1" else int(last) + 1
        found = self._ordered(key)[int(first) : stop]
        if options:
            return [part for score, member in found for part in (member, b"%.17g" % score)]
        return [member for _, member in found]

    def _zrangebyscore(self, key: bytes, _low: bytes, high: bytes, *limit: bytes) -> list[bytes]:
        found = [member for score, member in self._ordered(key) if score <= float(high)]
        return found[int(limit[1]) : int(limit[1]) + int(limit[2])]

    def _zrangebylex(self, key: bytes, low: bytes, high: bytes, *limit: bytes) -> list[bytes]:
        """From ``[low`` up to, and without, ``(high``; all scores are the same."""
        found = sorted(m for m in self.values.get(key, {}) if low[1:] <= m < high[1:])
        first, count = (int(limit[1]), int(limit[2])) if limit else (0, len(found))
        return found[first : first + count]

    def _zscore(self, key: bytes, member: bytes) -> bytes | None:
        score = self.values.get(key, {}).get(member)
        return None if score is None else b"%.17g" % score

    def _zrank(self, key: bytes, member: bytes) -> int:
        return [one for _, one in self._ordered(key)].index(member)

    def _zcount(self, key: bytes, _low: bytes, high: bytes) -> int:
        """Up to, and without, ``(high``."""
        return sum(score < float(high[1:]) for score, _ in self._ordered(key))

    def _next_id(self, key: bytes) -> bytes:
        last = self._last_position(key)
        return b"%d-%d" % max((self._clock_ms(), 0), (last[0], last[1] + 1))

    def _last_position(self, key: bytes) -> tuple[int, int]:
        entries = self.values.get(key)
        return entries[-1].position if entries else (0, 0)

    def _xadd(self, key: bytes, entry_id: bytes, *fields: bytes) -> bytes:
        entry = StreamEntry(stream_position(entry_id), entry_id, fields)
        self.values.setdefault(key, []).append(entry)
        return entry_id

    def _xtrim(self, key: bytes, strategy: bytes, threshold: bytes) -> int:
        entries = self.values.get(key, [])
        if strategy == b"MAXLEN":
            kept = entries[len(entries) - min(len(entries), int(threshold)) :]
        else:
            oldest = stream_position(threshold)
            kept = [entry for entry in entries if entry.position >= oldest]
        self.values[key] = kept
        return len(entries) - len(kept)

    def _xinfo(self, _stream: bytes, key: bytes) -> list[Any]:
        """What a script asks of it."""
        return [b"last-generated-id", b"%d-%d" % self._last_position(key)]

    def entries_after(self, key: bytes, after: bytes, count: int) -> list[StreamEntry]:
        """What XREAD answers."""
        position = stream_position(after)
        entries: list[StreamEntry] = self.values.get(key, [])
        return [entry for entry in entries if entry.position > position][:count]

    def entries_back_from(self, key: bytes, newest: bytes, count: int) -> list[StreamEntry]:
        """What XREVRANGE answers; ``+`` is the end, ``(`` excludes."""
        entries: list[StreamEntry] = self.values.get(key, [])
        if newest != b"+":
            position = stream_position(newest.removeprefix(b"("))
            exclusive = newest.startswith(b"(")
            entries = [
                entry
                for entry in entries
                if entry.position < position or (entry.position == position and not exclusive)
            ]
        return entries[::-1][:count]
