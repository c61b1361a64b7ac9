"""What was given back after an outage is what its traces say: to whoever asks why, or looks."""

from __future__ import annotations

from flashstock.hotpath import keys
from flashstock.model.group_rules import GroupRules
from tests.recovery.node import Node, opened, raw, settings_for
from tests.recovery.story import lose_the_scripts
from tests.recovery.test_outages import HOUR_MS, POOL, come_back, deadline_of, go_away

GROUPS = "groups"


async def forget_deadlines(node: Node, *holds: str) -> None:
    """Redis has another deadline than SQL, for each of them."""
    await node.is_applied()
    with raw(str(node.settings.redis_url)) as client:
        for hold in holds:
            digest = hold.partition("~")[2]
            packed = client.hget(keys.reservations(0), digest)
            there = str(await deadline_of(node, hold))
            assert there in packed
            wrong = packed.replace(there, str(int(there) + 1_000))
            client.hset(keys.reservations(0), digest, wrong)


async def explanations(node: Node) -> dict[str, str]:
    """Reservation → kind of the event that explains why its deadline differs."""
    report = await node.reconciler.report()
    assert {one["kind"] for one in report["differences"]} == {"deadline"}
    return {one["subject"]: one["explained_by"]["kind"] for one in report["differences"]}


async def test_a_deadline_is_explained_by_what_moved_it_last(valkey_url, database_url):
    settings = await settings_for(valkey_url, database_url)
    async with opened(settings) as node:
        await node.create(POOL, 10, hold_ms=60_000)
        await node.create(GROUPS, 10, group_buy=GroupRules(3, 2 * HOUR_MS).text, hold_ms=7_200_000)
        waited, longer = await node.hold(POOL, "waited"), await node.hold(POOL, "longer")
        seat = await node.seat(GROUPS, "seat", "open")
        await go_away(node, HOUR_MS, lose_the_scripts)
        await come_back(node)
        await node.reservations.extend(longer, 7_200)
        later = await node.hold(POOL, "later")
        await forget_deadlines(node, waited, longer, seat, later)
        assert await explanations(node) == {
            waited: "postponed",
            longer: "extended",
            seat: "held",
            later: "held",
        }
