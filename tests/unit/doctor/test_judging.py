"""What a server answered, and what is made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flashstock.doctor.findings import Finding, Level, worst
from flashstock.doctor.judging import judge_database, judge_server
from flashstock.hotpath.condition import ServerCondition
from flashstock.ledger.condition import DatabaseCondition

SERVER = ServerCondition(
    product="Valkey",
    version="9.1.2",
    is_primary=True,
    round_trip_ms=0.3,
    clock_ahead_ms=-4.0,
    eviction_policy="noeviction",
    append_only=True,
    append_fsync="everysec",
    last_write_failed=False,
    memory_used_bytes=500,
    memory_limit_bytes=1_000,
)
DATABASE = DatabaseCondition(
    product="PostgreSQL",
    version="18.1",
    round_trip_ms=0.5,
    clock_ahead_ms=3.0,
    durability=(),
    is_primary=True,
    connections_max=100,
    schema="0012",
    schema_newest="0012",
    schema_known=True,
)


def of_server(*, may_be_replica=False, **changes):
    server = replace(SERVER, **changes)
    found = judge_server("Redis", server, may_be_replica=may_be_replica)
    return {one.check.removeprefix("Redis: "): one.level for one in found}


def of_database(processes=3, **changes):
    found = judge_database(replace(DATABASE, **changes), processes)
    return {one.check.removeprefix("SQL: "): one.level for one in found}


def test_where_all_is_well_nothing_else_is_said():
    assert set(of_server().values()) == {Level.OK}
    assert set(of_database().values()) == {Level.OK}


@pytest.mark.parametrize(
    ("check", "changes", "level"),
    [
        ("version", {"product": "Redis", "version": "6.2.14"}, Level.PROBLEM),
        ("version", {"product": "Redis", "version": "7.0.0"}, Level.OK),
        ("version", {"product": "Valkey", "version": "7.2.5"}, Level.PROBLEM),
        ("role", {"is_primary": False}, Level.PROBLEM),
        ("role", {"is_primary": False, "may_be_replica": True}, Level.OK),
        ("eviction", {"eviction_policy": "volatile-ttl"}, Level.PROBLEM),
        ("eviction", {"eviction_policy": None}, Level.WARNING),
        ("persistence", {"append_only": False}, Level.WARNING),
        ("persistence", {"append_fsync": "no"}, Level.WARNING),
        ("persistence", {"append_fsync": None}, Level.OK),
        ("last write to disk", {"last_write_failed": True}, Level.PROBLEM),
        ("memory", {"memory_limit_bytes": 0}, Level.NOTE),
        ("memory", {"memory_used_bytes": 851}, Level.WARNING),
        ("round trip", {"round_trip_ms": 10.1}, Level.WARNING),
        ("clock", {"clock_ahead_ms": 1_001.0}, Level.WARNING),
        ("clock", {"clock_ahead_ms": -1_001.0}, Level.WARNING),
        ("clock", {"clock_ahead_ms": 1_050.0, "round_trip_ms": 200.0}, Level.OK),
    ],
)
def test_a_server(check, changes, level):
    assert of_server(**changes)[check] is level


@pytest.mark.parametrize(
    ("check", "changes", "level"),
    [
        ("role", {"is_primary": False}, Level.PROBLEM),
        ("durability", {"durability": ("fsync is off",)}, Level.PROBLEM),
        ("schema", {"schema": None}, Level.NOTE),
        ("schema", {"schema": "0011"}, Level.NOTE),
        ("schema", {"schema": "0099", "schema_known": False}, Level.PROBLEM),
        ("connections", {"connections_max": 29}, Level.WARNING),
        ("clock", {"clock_ahead_ms": 1_500.0}, Level.WARNING),
    ],
)
def test_a_database(check, changes, level):
    assert of_database(**changes)[check] is level


def test_sqlite_has_no_clock_and_no_connections_to_count():
    found = of_database(
        product="SQLite", version="3.40.1", connections_max=None, clock_ahead_ms=None
    )
    assert {"clock", "connections"} & found.keys() == set()
    assert of_database(product="SQLite", version="3.34.1")["version"] is Level.PROBLEM


def test_the_worst_counts():
    levels = [Level.NOTE, Level.PROBLEM, Level.WARNING, Level.OK]
    assert worst(Finding("c", level, "f") for level in levels) is Level.PROBLEM
    assert worst([]) is Level.OK
