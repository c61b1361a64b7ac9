"""Commands packed in C are what redis-py would have sent."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import Connection

from flashstock.hotpath.connection import connect
from flashstock.model.states import ReservationState


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "key", b"\x00\r\n", "PX", 100),
        ("CONFIG GET", "max*"),
        (b"SCRIPT LOAD", "return 1"),
        ("ZADD", "ключ", 1_795_311_438_974_049, "member"),
        ("ZADD", "key", 1.5, ReservationState.HELD),
        ("SET", "key", bytearray(b"of a kind that hiredis refuses")),
        ("PING",),
    ],
)
async def test_a_command_is_packed_to_the_letter(command: tuple[Any, ...]):
    client = connect("redis://localhost:1", timeout_ms=100)
    ours = client.connection_pool.make_connection()
    theirs = Connection()
    assert b"".join(ours.pack_command(*command)) == b"".join(theirs.pack_command(*command))
    several = [command, ("PING",)]
    assert b"".join(ours.pack_commands(several)) == b"".join(theirs.pack_commands(several))
