"""The password in the URL is the servers'; sentinels may have one of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from flashstock.hotpath.servers import connect_servers
from tests.failover.valkeys import SERVICE, SLOTS, Server, eventually
from tests.servers import free_port


@contextmanager
def started(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


async def reaches(url: str) -> bytes:
    """What the primary calls the one who asks, by pool, by pipe and on the log's connection."""
    servers = connect_servers(url, 1, timeout_ms=5_000, block_ms=1_000)
    try:
        found = await servers.clients[0].execute_command("ACL", "WHOAMI")
        assert found == await servers.pipes[0].call("ACL", "WHOAMI")
        assert found == await servers.tailing[0].execute_command("ACL", "WHOAMI")
        return bytes(found)
    finally:
        await servers.close()


async def test_sentinels_with_a_password_of_their_own(binary, tmp_path):
    data = Server(binary, tmp_path / "data", {"user shop": "on >d@ta ~* &* +@all"})
    with started(data):
        data.ask("SET", "here", "1")
        watching = {f"sentinel monitor {SERVICE}": f"127.0.0.1 {data.port} 1"}
        sentinel = Server(binary, tmp_path / "sentinel", {**watching, "requirepass": "watch"})
        sentinel.mode, sentinel.password = ("--sentinel",), "watch"
        with started(sentinel):
            url = f"redis+sentinel://shop:d%40ta@127.0.0.1:{sentinel.port}/{SERVICE}/0"
            assert await reaches(f"{url}?sentinel_password=watch") == b"shop"
            with pytest.raises(RedisConnectionError):
                await reaches(url)


async def test_a_cluster_with_a_password(binary, tmp_path):
    settings = {
        "cluster-enabled": "yes",
        "cluster-port": str(free_port()),
        "requirepass": "s/cret",
    }
    node = Server(binary, tmp_path / "node", settings)
    node.password = "s/cret"
    with started(node):
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        eventually(lambda: "cluster_state:ok" in str(node.ask("CLUSTER", "INFO")), "it is up")
        assert await reaches(f"redis+cluster://:s%2Fcret@127.0.0.1:{node.port}") == b"default"
        with pytest.raises(RedisConnectionError):
            await reaches(f"redis+cluster://127.0.0.1:{node.port}")
