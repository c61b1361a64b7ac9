"""Several Valkeys on loopback that know each other: behind sentinels, or as a cluster.

They are real processes, so a test may kill one or cut its replication; addresses stay the same
when one comes back.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers import free_port

PATIENCE_SECONDS = 60.0
DOWN_AFTER_MS = 1_000
SERVICE = "sale"
SLOTS = 16_384
ONCE = Retry(NoBackoff(), 0)


def eventually(look: Callable[[], Any], what: str) -> Any:
    """What ``look`` finds once it is true; a server that is away is asked again."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if found := look():
                return found
        assert time.monotonic() < give_up_at, f"it never came to this: {what}"
        time.sleep(0.02)


class Server:
    """One process on a port of its own, with its files in a directory that outlives it."""

    def __init__(self, binary: Path, directory: Path, settings: dict[str, str]) -> None:
        self._binary = binary
        self.directory = directory
        self.port = free_port()
        self.settings = {"port": str(self.port), "bind": "127.0.0.1", **settings}
        self.mode: tuple[str, ...] = ()
        self.password: str | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it answers with its data loaded."""
        self.directory.mkdir(exist_ok=True)
        configuration = self.directory / "server.conf"
        if not configuration.exists():  # sentinels and clusters rewrite theirs
            lines = [f"{name} {value}" for name, value in self.settings.items()]
            configuration.write_text("\n".join([*lines, f"dir {self.directory}", ""]))
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._binary, configuration, *self.mode], stdout=log, stderr=subprocess.STDOUT
            )
        eventually(self._answers, f"the server on port {self.port} answers")

    def _answers(self) -> bool:
        with self.client as client:
            return bool(client.ping())

    def kill(self) -> None:
        """SIGKILL. Idempotent."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE_SECONDS)
            self.process = None

    @property
    def client(self) -> redis.Redis:
        """A fresh client: the server may be another process by now."""
        return redis.Redis(
            port=self.port,
            password=self.password,
            socket_timeout=5,
            retry=ONCE,
            decode_responses=True,
        )

    def ask(self, *command: Any) -> Any:
        with self.client as client:
            return client.execute_command(*command)

    def replication(self) -> dict[str, Any]:
        with self.client as client:
            found: dict[str, Any] = client.info("replication")
            return found

    def cut_replication(self) -> None:
        """From now on no replica of this server hears of anything."""
        self.ask("ACL", "SETUSER", "default", "-psync", "-sync")
        self.ask("CLIENT", "KILL", "TYPE", "replica")

    def has(self, shard: int, digest: str) -> bool:
        """Does it know a reservation? Asked of replicas too."""
        with self.client as client:
            with contextlib.suppress(redis.ResponseError):  # outside a cluster nobody needs it
                client.execute_command("READONLY")
            return bool(client.hexists(f"{{fs:{shard:02d}}}:reservations", digest))


class ManyServers(ABC):
    """What a test has in its hands."""

    url: str
    """A ``FLASHSTOCK_REDIS_URL``."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self._binary = binary
        self._directory = directory
        self.everyone: list[Server] = []

    def _new(self, settings: dict[str, str]) -> Server:
        server = Server(self._binary, self._directory / str(len(self.everyone)), settings)
        self.everyone.append(server)
        return server

    def kill(self) -> None:
        for server in self.everyone:
            server.kill()

    @abstractmethod
    def start(self) -> None:
        """Return once each primary has its replicas."""

    @abstractmethod
    def primary_of(self, shard: int) -> Server:
        """The primary of a shard now."""

    @abstractmethod
    def replicas_of(self, primary: Server) -> list[Server]: ...


DATA = {
    "save": '""',
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "repl-diskless-sync-delay": "0",
}


class BehindSentinels(ManyServers):
    """One primary, two replicas, three sentinels."""

    def start(self) -> None:
        self.data = [self._new(dict(DATA)) for _ in range(3)]
        primary, *replicas = self.data
        for replica in replicas:
            replica.settings["replicaof"] = f"127.0.0.1 {primary.port}"
        for server in self.data:
            server.start()
        self.sentinels = [self._new(self._watching(primary)) for _ in range(3)]
        for sentinel in self.sentinels:
            sentinel.mode = ("--sentinel",)
            sentinel.start()
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}"
        for sentinel in self.sentinels:
            eventually(partial(self._knows_all, sentinel), "a sentinel knows all others")
        eventually(lambda: self._in_step(primary), "the replicas are in step")

    def _watching(self, primary: Server) -> dict[str, str]:
        return {
            f"sentinel monitor {SERVICE}": f"127.0.0.1 {primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE}": str(DOWN_AFTER_MS),
            f"sentinel failover-timeout {SERVICE}": "5000",
            f"sentinel parallel-syncs {SERVICE}": "2",
        }

    def _knows_all(self, sentinel: Server) -> bool:
        found = sentinel.ask("SENTINEL", "MASTER", SERVICE)
        known = (
            found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
        )
        return (int(known["num-other-sentinels"]), int(known["num-slaves"])) == (2, 2)

    def _in_step(self, primary: Server) -> bool:
        return all(
            server.replication().get("master_link_status") == "up"
            for server in self.data
            if server is not primary
        )

    def primary_of(self, shard: int = 0) -> Server:
        _, port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.data if server.port == int(port))

    def replicas_of(self, primary: Server) -> list[Server]:
        return [server for server in self.data if server is not primary]


class Cluster(ManyServers):
    """Three primaries, each with a replica."""

    def start(self) -> None:
        own = {
            **DATA,
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(DOWN_AFTER_MS),
            # However far behind a replica is, it may be promoted: that is what is tested.
            "cluster-replica-validity-factor": "0",
            "cluster-require-full-coverage": "no",
        }
        self.data = [self._new(dict(own)) for _ in range(6)]
        for server in self.data:
            server.settings["cluster-port"] = str(free_port())
            server.start()
        primaries, replicas = self.data[:3], self.data[3:]
        for number, server in enumerate(primaries):
            first, last = (SLOTS * place // 3 for place in (number, number + 1))
            server.ask("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.data[1:]:
            bus = server.settings["cluster-port"]
            self.data[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
        for server in self.data:
            eventually(partial(_knows_all_nodes, server), "every node knows every other")
        for primary, replica in zip(primaries, replicas, strict=True):
            replica.ask("CLUSTER", "REPLICATE", primary.ask("CLUSTER", "MYID"))
        self.url = f"redis+cluster://127.0.0.1:{primaries[0].port},127.0.0.1:{primaries[1].port}"
        for server in self.data:
            eventually(partial(self._is_whole, server), "the cluster is whole")
        for primary in primaries:
            eventually(partial(self.replicas_of, primary), "its replica is known")

    def _is_whole(self, server: Server) -> bool:
        roles = [flags for _, flags, _ in nodes_of(server)]
        linked = server.replication().get("master_link_status", "up") == "up"
        up = "cluster_state:ok" in str(server.ask("CLUSTER", "INFO"))
        return up and linked and sum("slave" in flags for flags in roles) == 3

    def primary_of(self, shard: int) -> Server:
        slot = self._alive().ask("CLUSTER", "KEYSLOT", f"{{fs:{shard:02d}}}")
        for first, last, primary, *_ in _slots(self._alive()):
            if first <= slot <= last:
                return next(server for server in self.data if server.port == primary[1])
        raise redis.RedisError(f"nobody has shard {shard}")

    def replicas_of(self, primary: Server) -> list[Server]:
        for _, _, first, *others in _slots(primary):
            if first[1] == primary.port:
                ports = {other[1] for other in others}
                return [server for server in self.data if server.port in ports]
        return []

    def _alive(self) -> Server:
        return next(server for server in reversed(self.data) if server.process is not None)


def _knows_all_nodes(server: Server) -> bool:
    return len(nodes_of(server)) == 6


def nodes_of(server: Server) -> list[tuple[int, str, str]]:
    """(port, flags, id of its primary or ``-``) of every node that a node knows."""
    with server.client as client:
        found = client.connection_pool.get_connection()
        found.send_command("CLUSTER NODES")
        text = found.read_response()
    rows = [line.split() for line in text.splitlines()]
    return [(int(row[1].split("@")[0].rsplit(":", 1)[1]), row[2], row[3]) for row in rows]


def _slots(server: Server) -> list[Any]:
    with server.client as client:
        connection = client.connection_pool.get_connection()
        connection.send_command("CLUSTER SLOTS")
        found: list[Any] = connection.read_response()
        return found


@contextmanager
def running(kind: type[ManyServers], binary: Path) -> Iterator[Any]:
    """A set of servers that are in step; nothing of it is left afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="flashstock-failover-"))
    many = kind(binary, directory)
    try:
        many.start()
        yield many
    finally:
        many.kill()
        shutil.rmtree(directory, ignore_errors=True)
