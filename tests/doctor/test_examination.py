"""The examination of real stores: what is wrong with them is found, and nothing is changed."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import insert, text, update

from flashstock.bootstrap import load_secrets
from flashstock.config import Settings
from flashstock.doctor import examination
from flashstock.doctor.examination import examine
from flashstock.doctor.findings import Level, worst
from flashstock.hotpath import keys
from flashstock.hotpath.log import ShardLog
from flashstock.ledger.engine import create_engine, writing
from flashstock.ledger.migrate import upgrade
from flashstock.ledger.tables import api_keys, cursors, quarantine, refunds


async def examined(settings):
    """Check → finding, of everything that is not well."""
    found = [finding async for finding in examine(settings)]
    assert all(bool(one.means) == (one.level is not Level.OK) for one in found)
    assert all(bool(one.advice) == (one.level is not Level.OK) for one in found)
    return {one.check: one for one in found}


async def execute(url, *statements):
    engine = create_engine(url)
    async with writing(engine) as connection:
        for statement, *rows in statements:
            await connection.execute(statement, *rows)
    await engine.dispose()


@pytest.fixture
def settings(valkey_url, postgres_url, tmp_path):
    return Settings(redis_url=valkey_url, database_url=postgres_url, data_dir=tmp_path / "data")


@pytest.fixture
def server(valkey_url):
    with redis.Redis.from_url(valkey_url) as client:
        yield client
        client.replicaof("NO", "ONE")
        client.config_set("appendfsync", "always")
        client.config_set("appendonly", "no")


async def test_stores_that_were_never_used(settings):
    found = await examined(settings)
    assert found["Redis: version"].found.startswith("Valkey ")
    assert found["SQL: version"].found.startswith("PostgreSQL ")
    schema = found["SQL: schema"]
    assert (schema.level, schema.found) == (Level.NOTE, "none yet")
    assert "shard 0" not in found, "there is nothing to compare"
    assert found["Redis: clock"].level is Level.OK
    assert found["SQL: clock"].level is Level.OK
    await upgrade(settings.ledger_url)
    found = await examined(settings)
    assert found["SQL: schema"].level is Level.OK
    assert found["shard 0"].found == "not opened yet"


async def test_what_a_server_is_set_up_to_lose(settings, server):
    server.config_set("maxmemory-policy", "allkeys-lru")
    server.config_set("maxmemory", "1gb")
    found = await examined(settings)
    assert found["Redis: eviction"].level is Level.PROBLEM
    assert found["Redis: eviction"].found == "allkeys-lru"
    assert found["Redis: persistence"].level is Level.WARNING
    assert found["Redis: memory"].level is Level.OK
    server.config_set("appendonly", "yes")
    server.config_set("appendfsync", "no")
    server.config_set("maxmemory", server.info("memory")["used_memory"] + 1)
    found = await examined(settings)
    assert found["Redis: persistence"].found == "appendonly yes, appendfsync no"
    assert found["Redis: memory"].level is Level.WARNING
    server.config_set("appendfsync", "everysec")
    assert (await examined(settings))["Redis: persistence"].level is Level.OK


async def test_a_replica_at_the_one_address(settings, server):
    server.replicaof("127.0.0.1", "1")
    found = await examined(settings)
    assert found["Redis: role"].level is Level.PROBLEM


async def test_a_database_that_may_forget_what_it_committed(settings):
    name = settings.ledger_url.rpartition("/")[2].partition("?")[0]
    await execute(
        settings.ledger_url, (text(f'ALTER DATABASE "{name}" SET synchronous_commit = off'),)
    )
    found = await examined(settings)
    assert found["SQL: durability"].level is Level.PROBLEM
    assert "synchronous_commit" in found["SQL: durability"].found


async def test_a_schema_of_a_newer_version(settings):
    await upgrade(settings.ledger_url)
    await execute(settings.ledger_url, (text("UPDATE alembic_version SET version_num = '9999'"),))
    found = await examined(settings)
    assert found["SQL: schema"].level is Level.PROBLEM
    assert "9999" in found["SQL: schema"].found


async def test_a_number_of_shards_that_is_not_the_ledgers(settings):
    await upgrade(settings.ledger_url)
    await load_secrets(settings)
    found = await examined(settings.changed(shard_count=4))
    assert found["shards"].level is Level.PROBLEM
    assert "shards" not in await examined(settings)


async def test_an_address_for_everybody_and_no_key(settings):
    await upgrade(settings.ledger_url)
    outside = settings.changed(host="0.0.0.0")
    assert (await examined(outside))["access"].level is Level.PROBLEM
    key = {"name": "shop", "role": "ops", "key_hash": "x", "created_at_ms": 1}
    await execute(settings.ledger_url, (insert(api_keys), key))
    assert (await examined(outside))["access"].level is Level.OK


async def test_what_waits_for_a_person(settings):
    await upgrade(settings.ledger_url)
    row = {"shard": 0, "pool": "p", "recorded_at_ms": 1}
    event = {"generation": 1, "seq": 1, "kind": "held", "payload": "", "error": ""}
    due = {"reservation_id": "p~1", "buyer": "b", "quantity": 1, "payment_ref": "pay"}
    await execute(
        settings.ledger_url,
        (insert(quarantine), {**row, **event, "pool_paused": True}),
        (insert(refunds), {**row, **due}),
    )
    found = await examined(settings)
    assert found["quarantine"].level is Level.PROBLEM
    assert found["refunds"].level is Level.WARNING


async def put_cursor(settings, seq):
    await upgrade(settings.ledger_url)
    row = {"shard": 0, "generation": 3, "opened_generation": 3, "seq": seq, "log_id": ""}
    times = {"recovery_until_ms": 0, "updated_at_ms": 1}
    await execute(settings.ledger_url, (insert(cursors), {**row, **times}))


async def test_redis_that_lost_its_data(settings):
    await put_cursor(settings, 7)
    found = await examined(settings)
    assert found["shard 0"].found == "Redis is at generation none, SQL at 3"


async def test_a_log_that_nobody_writes(settings, server, monkeypatch):
    monkeypatch.setattr(examination, "PATIENCE_S", 0.2)
    await put_cursor(settings, 7)
    server.hset(keys.shard_meta(0), mapping={"generation": "3", "seq": "9"})
    found = await examined(settings)
    assert found["shard 0"].level is Level.PROBLEM
    assert found["shard 0"].found.startswith("2 events wait")


async def test_a_log_that_is_being_written(settings, server, monkeypatch):
    await put_cursor(settings, 7)
    server.hset(keys.shard_meta(0), mapping={"generation": "3", "seq": "9"})
    look = ShardLog.position

    async def look_and_write(log):
        """The cursor was read before, so it is seen behind."""
        found = await look(log)
        await execute(settings.ledger_url, (update(cursors).values(seq=9),))
        return found

    monkeypatch.setattr(ShardLog, "position", look_and_write)
    found = await examined(settings)
    assert found["shard 0"].found == "generation 3, 2 events behind"


@pytest.mark.parametrize("away", ["redis_url", "database_url"])
async def test_a_store_that_is_away_hides_nothing_of_the_other(settings, away, tmp_path):
    addresses = {
        "redis_url": "redis://127.0.0.1:1",
        "database_url": "postgresql://postgres@127.0.0.1:1/x",
    }
    found = await examined(settings.changed(**{away: addresses[away]}))
    gone, there = ("Redis", "SQL") if away == "redis_url" else ("SQL", "Redis")
    assert found[f"{gone}: reachable"].level is Level.PROBLEM
    assert f"{there}: version" in found


async def test_a_directory_on_which_nothing_runs_stays_as_it_is(tmp_path):
    settings = Settings(data_dir=tmp_path / "data")
    found = await examined(settings)
    assert worst(found.values()) is Level.NOTE
    assert not settings.data_dir.exists()
