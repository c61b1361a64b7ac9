"""What becomes of a server by way of its append-only file: copies that are behind, lost tails."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redis

from tests import servers


def append_only_file(server: servers.HotServer) -> Path:
    (found,) = (server._directory / "appendonlydir").glob("*.incr.aof")
    return found


@contextmanager
def replica_of(primary: servers.HotServer) -> Iterator[servers.HotServer]:
    """A copy of a server as it is now, not started yet."""
    with servers.hot_server(servers.valkey_binary(), append_only=True) as copy:
        copy.stop()
        become(copy, primary)
        yield copy


def become(server: servers.HotServer, other: servers.HotServer) -> None:
    """Give a stopped server the data of another one."""
    directory = server._directory / "appendonlydir"
    shutil.rmtree(directory)
    shutil.copytree(other._directory / "appendonlydir", directory)


def promote(server: servers.HotServer, copy: servers.HotServer) -> None:
    """Let a copy take the server's place, at its address."""
    server.kill()
    become(server, copy)
    server.start()


Snapshot = Mapping[bytes, bytes]


def snapshot(server: servers.HotServer) -> Snapshot:
    """All that a server would hand to a replica."""
    with redis.Redis.from_url(server.url) as client:
        return {key: client.dump(key) for key in client.keys("*")}


def become_a_copy(server: servers.HotServer, of: Snapshot) -> None:
    """What a full synchronisation does: the data are the other's, the scripts are still there."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        for key, value in of.items():
            client.restore(key, 0, value)
