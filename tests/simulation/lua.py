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


@cache
def _runtime() -> Any:
    return lua51.LuaRuntime(encoding=None, unpack_returned_tuples=False, register_eval=False)


@lru_cache(maxsize=4096)
def compile_script(text: str) -> LoadedScript:
    """Compile a script as SCRIPT LOAD does. The result keeps no state between calls."""
    shebang = _SHEBANG.match(text)
    flags = frozenset((shebang["flags"] or "").split(",")) if shebang else frozenset()
    body = _SHEBANG.sub("\n", text)
    wrapped = f"return function(KEYS, ARGV, redis) {body}\nend"
    return LoadedScript(_runtime().execute(wrapped.encode()), flags)


def run_script(
    script: LoadedScript, call: RedisCall, keys: Sequence[bytes], arguments: Sequence[bytes]
) -> Any:
    """What EVALSHA would answer.

    Raises:
        ResponseError: the script failed; no script of ours may.
    """
    table = _runtime().table_from

    def bridged(*command: Any) -> Any:
        return _to_lua(call(command), table)

    try:
        found = script.run(table(keys), table(arguments), table({b"call": bridged}))
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
