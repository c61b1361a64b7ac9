"""The real scripts, run in this process by the Lua that Redis has: version 5.1."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from lupa import lua51
from redis.exceptions import ResponseError

_SHEBANG: Final = re.compile(r"^#!lua(?: flags=(?P<flags>[a-z,-]+))?\n")

RedisCall = Callable[..., Any]


@dataclass(frozen=True)
class LoadedScript:
    """A compiled script and the flags of its first line."""

    run: Any
    flags: frozenset[str]


class _Interpreter:
    """One for all worlds: what it holds of Python is let go only when Lua collects its garbage, so
    it holds one function for good, and no world.
    """

    def __init__(self) -> None:
        self._lua = lua51.LuaRuntime(
            encoding=None, unpack_returned_tuples=False, register_eval=False
        )
        self._redis = self._lua.table_from({b"call": self._answer})
        self._call: RedisCall | None = None

    def compile(self, body: str) -> Any:
        return self._lua.execute(f"return function(KEYS, ARGV, redis) {body}\nend".encode())

    def run(
        self, function: Any, call: RedisCall, keys: Sequence[bytes], arguments: Sequence[bytes]
    ) -> Any:
        table = self._lua.table_from
        self._call = call
        try:
            return function(table(keys), table(arguments), self._redis)
        finally:
            self._call = None

    def _answer(self, *command: Any) -> Any:
        assert self._call is not None
        return _to_lua(self._call(command), self._lua.table_from)


@cache
def _interpreter() -> _Interpreter:
    return _Interpreter()


@lru_cache(maxsize=4096)
def compile_script(text: str) -> LoadedScript:
    """Compile a script as SCRIPT LOAD does. The result keeps no state between calls."""
    shebang = _SHEBANG.match(text)
    flags = frozenset((shebang["flags"] or "").split(",")) if shebang else frozenset()
    return LoadedScript(_interpreter().compile(_SHEBANG.sub("\n", text)), flags)


def run_script(
    script: LoadedScript, call: RedisCall, keys: Sequence[bytes], arguments: Sequence[bytes]
) -> Any:
    """What EVALSHA would answer.

    Raises:
        ResponseError: the script failed; no script of ours may.
    """
    try:
        found = _interpreter().run(script.run, call, keys, arguments)
    except lua51.LuaError as failure:
        raise ResponseError(f"the script failed: {failure}") from failure
    return _from_lua(found)


def _to_lua(reply: Any, table: Callable[[Any], Any]) -> Any:
    if reply is None:
        return False
    if isinstance(reply, list):
        return table([_to_lua(item, table) for item in reply])
    return reply


def _from_lua(value: Any) -> Any:
    """Redis's conversion: numbers lose their fraction, ``false`` is nil, tables end at nil."""
    if value is None or value is False:
        return None
    if value is True:
        return 1
    if isinstance(value, float):
        return int(value)
    if isinstance(value, (int, bytes)):
        return value
    answer = []
    index = 1
    while (item := value[index]) is not None:
        answer.append(_from_lua(item))
        index += 1
    return answer
