"""An event that contradicts SQL: its pool stands still, a person closes the matter, it sells on."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from flashstock import errors
from flashstock.ledger.engine import writing
from flashstock.ledger.tables import pools
from flashstock.model.states import PoolState
from tests.recovery.node import eventually, opened, settings_for


@pytest.fixture
async def node(valkey_url, database_url):
    async with opened(await settings_for(valkey_url, database_url)) as node:
        yield node


async def contradicted(node):
    """SQL has one unit of ``shirts`` where Redis has five, and a second one was just held."""
    await node.create("shirts", 5)
    await node.hold("shirts", "first")
    await node.is_applied()
    async with writing(node.stores.engine) as connection:
        await connection.execute(update(pools).where(pools.c.id == "shirts").values(total=1))
    with pytest.raises(errors.NotRecorded):
        await node.hold("shirts", "second")

    async def is_paused():
        return (await node.pools.get("shirts")).rules.state == "paused"

    await eventually(is_paused, "the pool is paused")
    (event,) = await node.stores.queries.quarantined(0, 10)
    return event


async def test_resolving_brings_redis_back_to_sql_and_ends_the_matter(node):
    event = await contradicted(node)
    assert not (await node.reconciler.report())["ok"]
    resolved = await node.reconciler.resolve(event.id)
    assert resolved.resolved_at_ms is not None
    report = await node.reconciler.report()
    assert report["ok"], report
    view = await node.pools.get("shirts")
    assert (view.counters.total, view.counters.held, view.counters.available) == (1, 1, 0)
    assert view.rules.state == "paused", "whoever resolved it resumes it"
    assert (await node.stores.queries.open_matters()).quarantined_events == 0


async def test_what_sql_refused_is_not_acknowledged_afterwards(node):
    event = await contradicted(node)
    await node.reconciler.resolve(event.id)
    await node.pools.set_state("shirts", PoolState.OPEN)
    verdicted = await node.reserve("shirts", "buyer-second", 1, "second")
    assert verdicted.verdict > 1, "it is neither held nor a repetition of what was held"


async def test_repeating_it_changes_nothing_more(node):
    event = await contradicted(node)
    first = await node.reconciler.resolve(event.id)
    again = await node.reconciler.resolve(event.id)
    assert again.resolved_at_ms == first.resolved_at_ms


async def test_an_event_that_is_not_there(node):
    with pytest.raises(errors.UnknownQuarantinedEvent):
        await node.reconciler.resolve(7)
