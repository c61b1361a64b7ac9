"""Book to pool and back: what each journey does, on real stores."""

from __future__ import annotations

import pytest
from sqlalchemy import delete

from flashstock.errors import InsufficientStock, PoolExists
from flashstock.hotpath import keys
from flashstock.ledger.engine import writing
from flashstock.model.rules import Wave
from flashstock.model.states import PoolState
from flashstock.stockbook import pool_transfers
from flashstock.stockbook.pool_transfers import Wish
from flashstock.stockbook.tables import pool_commands
from tests.campaigns.site import Site, names, now_ms
from tests.recovery.node import eventually, raw


async def stocked(site: Site, **where: int) -> None:
    await site.sku("sku")
    await site.locations(*where)
    for location, quantity in where.items():
        await site.receive("sku", location, quantity)


async def test_units_leave_the_book_first_and_are_in_flight_until_the_pool_has_them(site):
    await stocked(site, north=30, south=30)
    await site.open_pool("pool", 40, per_buyer_limit=2)
    assert await site.stock("sku", "north") == {"on_hand": 30, "campaign": 30}
    assert await site.stock("sku", "south") == {"on_hand": 30, "available": 20, "campaign": 10}
    flying = await site.flights.page((-1, ""), 10)
    assert [flight.units_in for flight in flying] == [0, 40, 0]
    await site.adds_up()
    await site.carried_out()
    assert await site.counters("pool") == (40, 40, 0, 0, 0)
    pool = await site.sql_pool("pool")
    assert (pool.total, pool.state, pool.per_buyer_limit) == (40, "open", 2)
    await site.adds_up()
    assert await site.flights.counts() == (0, 0)


async def test_what_is_left_comes_back_and_what_was_sold_stays(site):
    await stocked(site, north=10, south=10)
    await site.open_pool("pool", 15, hold_ms=600_000)
    await site.carried_out()
    await site.sell("pool", "ann", 3)
    held = await site.node.hold("pool", "bob", 2)
    async with writing(site.engine) as connection:
        await pool_transfers.wind_down(connection, "end/pool", "pool", now_ms(), early=True)

    async def only_holds_and_sales_are_left() -> bool:
        await site.relay.round()
        await site.node.is_applied()
        return bool(await site.counters("pool") == (5, 0, 2, 3, 0))

    await eventually(only_holds_and_sales_are_left, "the rest is taken back")
    for _ in range(10):
        await site.relay.round()
        await site.node.is_applied()
    assert names(await site.pending()) == ["end/pool"], "a hold may still be given back"
    assert await site.counters("pool") == (5, 0, 2, 3, 0)
    await site.adds_up()
    await site.node.reservations.cancel(held)
    await site.carried_out()
    assert await site.counters("pool") == (3, 0, 0, 3, 0)
    assert sum((await site.allotted("pool")).values()) == 3
    north, south = await site.stock("sku", "north"), await site.stock("sku", "south")
    assert north["available"] + south["available"] == 17
    await site.adds_up()


async def test_taking_back_never_takes_what_buyers_hold(site):
    await stocked(site, north=10)
    await site.open_pool("pool", 10)
    await site.carried_out()
    await site.node.hold("pool", "ann", 7)
    async with writing(site.engine) as connection:
        await pool_transfers.take_back(connection, "less", "pool", 5, now_ms())
    await site.carried_out()
    assert await site.counters("pool") == (7, 0, 7, 0, 0)
    assert (await site.stock("sku", "north"))["available"] == 3
    async with writing(site.engine) as connection:
        await pool_transfers.take_back(connection, "none", "pool", 5, now_ms())
    await site.carried_out()
    assert await site.counters("pool") == (7, 0, 7, 0, 0)
    await site.adds_up()


async def test_a_command_is_given_once(site):
    await stocked(site, north=10)
    await site.open_pool("pool", 4)
    async with writing(site.engine) as connection:
        wish = Wish("pool", 4, {"sku": 1})
        assert not await pool_transfers.allocate(connection, "add/pool", wish, now_ms())
    await site.carried_out()
    assert await site.counters("pool") == (4, 4, 0, 0, 0)
    assert (await site.stock("sku", "north"))["available"] == 6


async def test_all_or_nothing(site):
    await stocked(site, north=10, south=5)
    with pytest.raises(InsufficientStock) as refusal:
        await site.open_pool("pool", 16)
    assert refusal.value.extra["balance"] == 15
    assert await site.pending() == []
    assert await site.stock("sku", "north") == {"on_hand": 10, "available": 10}


async def test_waves_are_locked_from_the_first_moment(site):
    await stocked(site, north=10)
    later = now_ms() + 3_600_000
    await site.open_pool("pool", 10, waves=(Wave(later, 4), Wave(later + 1, 3)))
    await site.carried_out()
    assert await site.counters("pool") == (10, 3, 0, 0, 7)
    pool = await site.node.stores.store.snapshot("pool")
    assert pool.rules.state is PoolState.OPEN
    assert [wave.quantity for wave in pool.rules.waves] == [4, 3]
    async with writing(site.engine) as connection:
        rules = {"waves": f"{later + 5}:2"}
        await pool_transfers.set_rules(connection, "again", "pool", rules, now_ms())
    await site.carried_out()
    assert await site.counters("pool") == (10, 8, 0, 0, 2)
    async with writing(site.engine) as connection:
        await pool_transfers.set_rules(connection, "none", "pool", {"waves": ""}, now_ms())
        await pool_transfers.wind_down(connection, "end", "pool", now_ms(), early=True)
    await site.carried_out()
    assert await site.counters("pool") == (0, 0, 0, 0, 0)
    assert await site.stock("sku", "north") == {"on_hand": 10, "available": 10}


async def test_the_locked_units_of_waves_come_back_too(site):
    await stocked(site, north=10)
    await site.open_pool("pool", 10, waves=(Wave(now_ms() + 3_600_000, 4),))
    async with writing(site.engine) as connection:
        await pool_transfers.wind_down(connection, "end", "pool", now_ms(), early=True)
    await site.carried_out()
    assert await site.counters("pool") == (0, 0, 0, 0, 0)
    assert await site.stock("sku", "north") == {"on_hand": 10, "available": 10}


async def test_a_pool_is_not_closed_before_its_own_time(site):
    await stocked(site, north=10)
    await site.open_pool("pool", 10, ends_at_ms=now_ms() + 3_600_000)
    async with writing(site.engine) as connection:
        await pool_transfers.wind_down(connection, "end", "pool", now_ms())
    for _ in range(20):
        await site.relay.round()
        await site.node.is_applied()
    assert await site.counters("pool") == (10, 10, 0, 0, 0)


async def test_bundles_are_set_aside_in_proportion_and_whole_where_possible(site):
    await site.locations("north", "south")
    for sku, per_place in (("body", 5), ("lens", 12)):
        await site.sku(sku)
        for place in ("north", "south"):
            await site.receive(sku, place, per_place)
    wish = Wish("kit", 9, {"body": 1, "lens": 2})
    async with writing(site.engine) as connection:
        rules = {"sku": "kit", "state": "open", "per_buyer_limit": "0", "hold_ms": "1000"}
        rules |= {"starts_at_ms": "0", "ends_at_ms": "0", "durability": "ledger", "waves": ""}
        await pool_transfers.create_pool(connection, "create", "kit", rules, now_ms())
        await pool_transfers.allocate(connection, "add", wish, now_ms())
    assert await site.allotted("kit") == {
        ("body", "north"): 5,
        ("lens", "north"): 10,
        ("body", "south"): 4,
        ("lens", "south"): 8,
    }
    await site.carried_out()
    await site.adds_up()
    with pytest.raises(InsufficientStock):
        await site.allocate("more", Wish("kit", 2, {"body": 1, "lens": 2}))
    assert (await site.stock("lens", "north"))["available"] == 2
    async with writing(site.engine) as connection:
        await pool_transfers.take_back(connection, "less", "kit", 6, now_ms())
    await site.carried_out()
    await site.adds_up()
    left = await site.allotted("kit")
    assert sum(n for (sku, _), n in left.items() if sku == "body") == 3
    assert sum(n for (sku, _), n in left.items() if sku == "lens") == 6


async def test_what_is_left_over_at_several_places_still_makes_a_bundle(site):
    await site.locations("north", "south")
    for sku, place in (("body", "north"), ("lens", "south")):
        await site.sku(sku)
        await site.receive(sku, place, 4)
    wish = Wish("kit", 2, {"body": 1, "lens": 2})
    async with writing(site.engine) as connection:
        parts = await pool_transfers.plan(connection, wish)
    assert {(part.sku, part.location): part.quantity for part in parts} == {
        ("body", "north"): 2,
        ("lens", "south"): 4,
    }


async def test_units_sold_ahead_are_withdrawn_from_virtual_stock_again(site):
    await stocked(site, north=2)
    await site.allow_virtual("sku", "north", 20)
    async with writing(site.engine) as connection:
        rules = {"sku": "sku", "state": "open", "per_buyer_limit": "0", "hold_ms": "1000"}
        rules |= {"starts_at_ms": "0", "ends_at_ms": "0", "durability": "ledger", "waves": ""}
        await pool_transfers.create_pool(connection, "create", "pool", rules, now_ms())
        wish = Wish("pool", 20, {"sku": 1}, virtual=True)
        await pool_transfers.allocate(connection, "add", wish, now_ms())
        await pool_transfers.set_rules(connection, "open", "pool", rules, now_ms())
    expected = {"on_hand": 2, "available": 2, "campaign": 20, "virtual": 20}
    assert await site.stock("sku", "north") == expected
    await site.carried_out()
    await site.sell("pool", "ann", 6)
    async with writing(site.engine) as connection:
        await pool_transfers.wind_down(
            connection, "end", "pool", now_ms(), early=True, virtual=True
        )
    await site.carried_out()
    expected = {"on_hand": 2, "available": 2, "campaign": 6, "virtual": 6}
    assert await site.stock("sku", "north") == expected
    await site.adds_up()


async def test_a_pool_with_units_of_its_own_gets_none_from_the_book(site):
    await stocked(site, north=10)
    await site.node.create("pool", 5)
    await site.node.is_applied()
    with pytest.raises(PoolExists):
        await site.open_pool("pool", 4)


async def test_a_command_that_redis_has_forgotten_is_known_to_the_journal(site, valkey_url):
    await stocked(site, north=10)
    await site.open_pool("pool", 10)
    create, add, _ = await site.pending()
    await site.node.stores.store.configure(
        "pool", {**create.rules, "state": "paused", "waves": ""}, created=(0, 0)
    )
    await site.node.stores.store.adjust("pool", 10, 0, add.digest)
    await site.node.is_applied()
    with raw(valkey_url) as client:
        assert client.delete(keys.command(0, add.digest)) == 1
    await site.carried_out()
    assert await site.counters("pool") == (10, 10, 0, 0, 0)


async def test_the_journal_is_believed_only_when_it_has_all_of_the_log(site, valkey_url):
    await stocked(site, north=10)
    await site.open_pool("pool", 10)
    create, add, _ = await site.pending()
    store = site.node.stores.store
    rules = {**create.rules, "state": "paused", "waves": ""}
    await store.configure("pool", rules, created=(0, 0))
    await site.node.is_applied()
    await site.relay.round()
    await site.node.stop_writing()
    await store.adjust("pool", 10, 0, add.digest)
    with raw(valkey_url) as client:
        client.delete(keys.command(0, add.digest))
    for _ in range(5):
        await site.relay.round()
    site.node.write()
    await site.carried_out()
    assert await site.counters("pool") == (10, 10, 0, 0, 0)


async def test_a_step_is_booked_once_though_two_relays_have_seen_it(site):
    await stocked(site, north=10)
    await site.open_pool("pool", 10)
    await site.carried_out()
    await site.node.hold("pool", "ann", 4)
    async with writing(site.engine) as connection:
        await pool_transfers.wind_down(connection, "end", "pool", now_ms(), early=True)
    (seen,) = await site.pending()
    while (await site.pending())[0].step == 0:
        await site.relay.step(seen)
        await site.node.is_applied()
    for _ in range(3):
        await site.relay.step(seen)
    (now,) = await site.pending()
    assert (now.step, now.taken) == (1, 6)
    assert await site.allotted("pool") == {("sku", "north"): 4}
    await site.adds_up()


async def test_a_relay_with_old_rules_has_the_newest_written_again(site):
    await stocked(site, north=10)
    await site.open_pool("pool", 10)
    await site.carried_out()
    async with writing(site.engine) as connection:
        rules = {"per_buyer_limit": "1"}
        await pool_transfers.set_rules(connection, "first", "pool", rules, now_ms())
    (stale,) = await site.pending()
    await site.carried_out()
    async with writing(site.engine) as connection:
        rules = {"per_buyer_limit": "2"}
        await pool_transfers.set_rules(connection, "second", "pool", rules, now_ms())
    await site.carried_out()
    await site.relay.step(stale)  # overwrites, and finds out that it should not have
    await site.node.is_applied()
    await site.relay.step(stale)
    await site.carried_out()
    assert (await site.sql_pool("pool")).per_buyer_limit == 2


async def test_the_proof_sees_a_unit_that_is_nowhere(site):
    await stocked(site, north=10)
    await site.open_pool("pool", 10)
    async with writing(site.engine) as connection:
        await connection.execute(delete(pool_commands))
    (difference,) = await site.flights.differences()
    assert (difference.pool, difference.in_book, difference.in_pool) == ("pool", 10, 0)
