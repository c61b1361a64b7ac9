"""What is checked at the start is checked of every server that may be the primary tomorrow."""

from __future__ import annotations

from tests.acceptance.processes import run_flashstock
from tests.failover.valkeys import ManyServers


def refuses(many: ManyServers, database_url: str) -> None:
    replica = many.replicas_of(many.primary_of(0))[0]
    replica.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    settings = {"FLASHSTOCK_REDIS_URL": many.url, "FLASHSTOCK_DATABASE_URL": database_url}
    ended = run_flashstock("writer", settings=settings)
    assert ended.returncode == 2, ended.stderr
    assert f"maxmemory-policy of 127.0.0.1:{replica.port} is" in ended.stderr


def test_a_replica_behind_sentinels_that_would_evict_is_refused(sentinels, sqlite_url):
    refuses(sentinels, sqlite_url)


def test_a_replica_in_a_cluster_that_would_evict_is_refused(cluster, sqlite_url):
    refuses(cluster, sqlite_url)
