"""Connections to Redis or Valkey: no silent retries, bounded waits, clear failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as redis_errors
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashstock.errors import Recovering, Unavailable


def connect(url: str, *, timeout_ms: int, connections_max: int = 32) -> Redis:
    """A client that executes a command once or raises: redis-py would retry ten times.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout_ms: bound on connecting and on every reply.
        connections_max: bound on open connections; callers beyond it wait ``timeout_ms``.
    """
    seconds = timeout_ms / 1000
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections_max,
        timeout=seconds,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=2,
    )
    return Redis.from_pool(pool)


def connect_for_tailing(url: str, *, timeout_ms: int) -> Redis:
    """A client for blocking reads and subscriptions: no bound on a reply, only on connecting."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=4,
        socket_timeout=None,
        socket_connect_timeout=timeout_ms / 1000,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=2,
    )
    return Redis.from_pool(pool)


@contextmanager
def translated_failures() -> Iterator[None]:
    """Turn redis-py's failures into ours.

    Raises:
        Recovering: the server is not the one we opened (restarted, demoted, emptied).
        Unavailable: it did not answer, is still loading or is out of memory.
    """
    try:
        yield
    except (redis_errors.NoScriptError, redis_errors.ReadOnlyError) as failure:
        raise Recovering from failure
    except (
        redis_errors.ConnectionError,
        redis_errors.TimeoutError,
        redis_errors.OutOfMemoryError,
        OSError,
    ) as failure:
        raise Unavailable(f"the reservation store did not answer: {failure}") from failure
    except redis_errors.ResponseError as failure:
        # Failures of the server, not of the request: UNKILLABLE, MISCONF (disk full), NOREPLICAS.
        raise Unavailable(f"the reservation store refused: {failure}") from failure
