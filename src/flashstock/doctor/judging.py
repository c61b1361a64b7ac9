"""How what was found is to be judged. Pure: what a server answered goes in, findings come out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from flashstock.doctor.findings import Finding, Level
from flashstock.hotpath.condition import ServerCondition
from flashstock.ledger.condition import DatabaseCondition

VERSION_MIN: Final = {"Redis": (7, 0), "Valkey": (8, 0), "SQLite": (3, 35)}
CLOCK_AHEAD_MAX_MS: Final = 1_000
ROUND_TRIP_MAX_MS: Final = 10.0
MEMORY_USED_MAX: Final = 0.85
CONNECTIONS_PER_PROCESS: Final = 10


def judge_server(name: str, server: ServerCondition, *, may_be_replica: bool) -> Iterator[Finding]:
    """One Valkey or Redis."""
    yield _version(f"{name}: version", server.product, server.version)
    if not server.is_primary and not may_be_replica:
        yield Finding(
            f"{name}: role",
            Level.PROBLEM,
            "a replica",
            "A replica takes no writes: nothing can be reserved.",
            "Name the primary in FLASHSTOCK_REDIS_URL, or the sentinels (redis+sentinel://…).",
        )
    else:
        yield Finding(f"{name}: role", Level.OK, "primary" if server.is_primary else "replica")
    yield _eviction(name, server.eviction_policy)
    yield _persistence(name, server)
    if server.last_write_failed:
        yield Finding(
            f"{name}: last write to disk",
            Level.PROBLEM,
            "failed",
            "The disk is full or broken. Until that is mended the server may refuse all writes.",
            "Free the disk of the server, and look at its log.",
        )
    yield _memory(name, server)
    yield _round_trip(name, server.round_trip_ms)
    yield _clock(name, server.clock_ahead_ms, server.round_trip_ms)


def judge_database(database: DatabaseCondition, processes: int) -> Iterator[Finding]:
    """The ledger.

    Args:
        processes: of ours that will connect to it.
    """
    yield _version("SQL: version", database.product, database.version)
    if not database.is_primary:
        yield Finding(
            "SQL: role",
            Level.PROBLEM,
            "a standby",
            "A standby takes no writes: nothing can be recorded, so nothing is acknowledged.",
            "Name the primary in FLASHSTOCK_DATABASE_URL.",
        )
    for text in database.durability:
        yield Finding(
            "SQL: durability",
            Level.PROBLEM,
            text,
            "A hold is acknowledged because SQL has it. Here SQL may lose what it committed.",
            "Turn it on, in the server's settings or for the role of FLASHSTOCK_DATABASE_URL.",
        )
    if not database.durability:
        yield Finding("SQL: durability", Level.OK, "a commit is kept")
    yield _schema(database)
    wanted = processes * CONNECTIONS_PER_PROCESS
    if database.connections_max is not None and database.connections_max < wanted:
        yield Finding(
            "SQL: connections",
            Level.WARNING,
            f"at most {database.connections_max}, and {processes} processes may want {wanted}",
            "Under load a process that gets no connection answers 503.",
            "Raise max_connections, or run fewer workers.",
        )
    yield _round_trip("SQL", database.round_trip_ms)
    if database.clock_ahead_ms is not None:
        yield _clock("SQL", database.clock_ahead_ms, database.round_trip_ms)


def _version(check: str, product: str, version: str) -> Finding:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    oldest = VERSION_MIN.get(product)
    found = f"{product} {version}"
    if oldest is None or numbers >= oldest:
        return Finding(check, Level.OK, found)
    return Finding(
        check,
        Level.PROBLEM,
        found,
        "It lacks what the scripts or the ledger are written for.",
        f"Use {product} {oldest[0]}.{oldest[1]} or newer.",
    )


def _eviction(name: str, policy: str | None) -> Finding:
    check = f"{name}: eviction"
    if policy == "noeviction":
        return Finding(check, Level.OK, "noeviction")
    if policy is None:
        return Finding(
            check,
            Level.WARNING,
            "the server does not say",
            "A server that evicts keys forgets holds. The writer can't check it either.",
            "Make sure that maxmemory-policy is noeviction.",
        )
    return Finding(
        check,
        Level.PROBLEM,
        policy,
        "When memory runs short the server would throw holds away. The writer refuses to start.",
        "CONFIG SET maxmemory-policy noeviction, and in its configuration file.",
    )


def _persistence(name: str, server: ServerCondition) -> Finding:
    check = f"{name}: persistence"
    if not server.append_only:
        return Finding(
            check,
            Level.WARNING,
            "appendonly no",
            "A restart loses what is in memory. Redis is rebuilt from SQL then: 503 meanwhile, no"
            " acknowledged hold of a ledger pool lost, but the last holds of fast pools.",
            "CONFIG SET appendonly yes, and in its configuration file.",
        )
    if server.append_fsync == "no":
        return Finding(
            check,
            Level.WARNING,
            "appendonly yes, appendfsync no",
            "A power cut may cost half a minute of holds of fast pools, and a rebuild from SQL.",
            "CONFIG SET appendfsync everysec.",
        )
    fsync = server.append_fsync or "unknown"
    return Finding(check, Level.OK, f"appendonly yes, appendfsync {fsync}")


def _memory(name: str, server: ServerCondition) -> Finding:
    check = f"{name}: memory"
    used_mb = server.memory_used_bytes / 1e6
    if server.memory_limit_bytes == 0:
        return Finding(
            check,
            Level.NOTE,
            f"{used_mb:.0f} MB used, no limit",
            "When the machine runs out of memory, the system kills a process and not the request.",
            "Set maxmemory to what it may have: beyond it reservations are refused (503), while"
            " confirmations and cancellations go on.",
        )
    share = server.memory_used_bytes / server.memory_limit_bytes
    found = f"{used_mb:.0f} MB used, {share:.0%} of its limit"
    if share <= MEMORY_USED_MAX:
        return Finding(check, Level.OK, found)
    return Finding(
        check,
        Level.WARNING,
        found,
        "At the limit no hold is granted any more (503).",
        "Raise maxmemory, or remember what ended for less long (FLASHSTOCK_RETENTION_HOURS).",
    )


def _round_trip(name: str, round_trip_ms: float) -> Finding:
    check = f"{name}: round trip"
    found = f"{round_trip_ms:.1f} ms"
    if round_trip_ms <= ROUND_TRIP_MAX_MS:
        return Finding(check, Level.OK, found)
    return Finding(
        check,
        Level.WARNING,
        found,
        "Every batch of reservations waits for one, and for a commit a few of them.",
        "Bring the service and its stores into one network; ask again when it is quiet.",
    )


def _clock(name: str, ahead_ms: float, round_trip_ms: float) -> Finding:
    check = f"{name}: clock"
    direction = "ahead of" if ahead_ms > 0 else "behind"
    found = f"{abs(ahead_ms):.0f} ms {direction} this machine's, ± {round_trip_ms / 2:.0f} ms"
    if abs(ahead_ms) <= CLOCK_AHEAD_MAX_MS + round_trip_ms / 2:
        return Finding(check, Level.OK, found)
    return Finding(
        check,
        Level.WARNING,
        found,
        "Openings and deadlines follow the clock of Valkey or Redis, times on orders and campaigns"
        " this machine's: a sale opens early or late by the difference. Counters stay right.",
        "Run a time service (chrony, systemd-timesyncd) on all machines.",
    )


def _schema(database: DatabaseCondition) -> Finding:
    check = "SQL: schema"
    if not database.schema_known:
        return Finding(
            check,
            Level.PROBLEM,
            f"at {database.schema}, which this version does not know",
            "A newer flashstock has changed the schema.",
            "Run that version, or one after it.",
        )
    if database.schema == database.schema_newest:
        return Finding(check, Level.OK, f"at {database.schema}")
    return Finding(
        check,
        Level.NOTE,
        "none yet" if database.schema is None else f"at {database.schema}",
        f"The next start brings it to {database.schema_newest}.",
        "Nothing; or start 'flashstock serve'.",
    )
