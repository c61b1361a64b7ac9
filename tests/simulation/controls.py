"""Negative controls: the product with one bug put in, on purpose and only here.

A simulator that does not notice one of these is blind in that place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any, Final
from unittest import mock

from redis.exceptions import NoScriptError

from flashstock.hotpath import scripts
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.connection import translated_failures
from flashstock.hotpath.lanes import Lanes
from flashstock.hotpath.log import ShardLog
from flashstock.hotpath.store import HotStore
from flashstock.ledger.apply import Applied, Cursor
from flashstock.model.events import LogEntry
from flashstock.recovery.gate import Gate
from flashstock.recovery.recover import Recoverer
from tests.simulation.processes import Parts
from tests.simulation.redis_client import RedisClient
from tests.simulation.sql import SimulatedLedger

Control = Callable[[], Any]
CONTROLS: Final[dict[str, Control]] = {}


def control(make: Control) -> Control:
    """Register one by its name."""
    CONTROLS[make.__name__] = make
    return make


@contextmanager
def scripts_with(bug: Callable[[str, str], str]) -> Iterator[Parts]:
    """A bug in the scripts.

    Args:
        bug: given a script's name and its text, the text with the bug.
    """
    original = scripts.script_source

    def with_bug(script: str) -> str:
        return bug(script, original(script))

    scripts.script_set.cache_clear()
    try:
        with mock.patch.object(scripts, "script_source", with_bug):
            yield Parts()
    finally:
        scripts.script_set.cache_clear()


def script_text(name: str, wanted: str, instead: str) -> Any:
    """A bug in a script: some of its text replaced."""
    assert wanted in scripts.script_source(name), f"{name}.lua has changed; mend the control"
    return scripts_with(
        lambda script, text: text.replace(wanted, instead) if script == name else text
    )


def include_text(name: str, wanted: str, instead: str) -> Any:
    """A bug in an include: in every script that has it, this one among them."""
    assert wanted in scripts.script_source(name), "an include has changed; mend the control"
    return scripts_with(lambda _, text: text.replace(wanted, instead))


@contextmanager
def parts(**classes: Any) -> Iterator[Parts]:
    """A bug in a class: another one in its place."""
    chosen = Parts()
    for name, kind in classes.items():
        setattr(chosen, name, kind)
    yield chosen


class Credulous(AppliedTracker):
    """It takes a number for the decision that has it."""

    async def _check_position(self, *_: Any) -> None:
        await asyncio.sleep(0)


@control
def no_fence() -> Any:
    """Scripts work on any data set, whatever its generation and wherever it stands."""
    fence = "if meta[1] ~= GENERATION then"
    floor = "if seq < floor then"
    source = scripts.script_source("lookup")
    assert fence in source, "include/shard.lua has changed; mend the control"
    assert floor in source, "include/shard.lua has changed; mend the control"

    def without_fence(script: str, text: str) -> str:
        if script in RECOVERY:
            return text
        return text.replace(fence, _NO_META).replace(floor, "if false then")

    return scripts_with(without_fence)


RECOVERY: Final = ("restore", "takeover")
_NO_META = "if not meta[2] or not meta[3] then"


@control
def scripts_reloaded_on_noscript() -> Any:
    """What redis-py's ``register_script`` does: load it again and go on, on whatever server."""

    class Reloading(RedisClient):
        async def execute_command(self, *command: Any) -> Any:
            try:
                return await super().execute_command(*command)
            except NoScriptError:
                for shard, generation in product((0, 1), range(1, 40)):
                    found = scripts.script_set(shard, str(generation), 86_400_000)
                    for name, sha in found.shas.items():
                        if sha == command[1]:
                            await self.script_load(found.texts[name])
                return await super().execute_command(*command)

    def without_fence(script: str, text: str) -> str:
        fence = "if meta[1] ~= GENERATION then\n  return { -1 }\nend"
        return text if script in RECOVERY else text.replace(fence, _NO_META)

    @contextmanager
    def patched() -> Iterator[Parts]:
        with scripts_with(without_fence) as chosen:
            chosen.client = Reloading
            yield chosen

    return patched()


@control
def log_trimmed_unread() -> Any:
    """MAXLEN: the log is cut to a length, read or not."""

    class Trimming(ShardLog):
        async def read(self, *arguments: Any, **options: Any) -> list[LogEntry]:
            with translated_failures():
                await self._client.xtrim(self._key, maxlen=2, approximate=False)
            return await super().read(*arguments, **options)

    return parts(log=Trimming)


@control
def stream_ids_trusted() -> Any:
    """What was applied is told by stream ids, which run backwards after a failover."""

    class ById(SimulatedLedger):
        async def apply(
            self, cursor: Cursor, entries: Sequence[LogEntry], generation: int | None = None
        ) -> Applied:
            newest = _position(cursor.log_id)
            fresh = [entry for entry in entries if _position(entry.stream_id) > newest]
            passed = [e.last_seq for e in entries if e not in fresh and e.last_seq > cursor.seq]
            if passed:
                tables = self._database.tables.copy()
                row = tables.cursors[cursor.shard]
                tables.cursors[cursor.shard] = replace(row, seq=passed[-1])
                self._database.commit(tables)
                cursor = replace(cursor, seq=passed[-1])
            return await super().apply(cursor, fresh, generation)

    return parts(ledger=ById)


def _position(stream_id: str) -> tuple[int, int]:
    milliseconds, _, number = stream_id.partition("-")
    return int(milliseconds or 0), int(number or 0)


@control
def acknowledged_before_commit() -> Any:
    """Whoever should wait for SQL does not."""

    class Hasty(AppliedTracker):
        async def wait(self, shard: int, generation: str, seq: int) -> None:
            await asyncio.sleep(0)

    return parts(applied=Hasty)


@control
def no_cursor_compare() -> Any:
    """The cursor is moved whatever it says: no compare-and-set."""

    class Careless(SimulatedLedger):
        async def apply(
            self, cursor: Cursor, entries: Sequence[LogEntry], generation: int | None = None
        ) -> Applied:
            row = self._database.tables.cursors[cursor.shard]
            moved = self._database.tables.copy()
            moved.cursors[cursor.shard] = replace(row, generation=cursor.generation, seq=cursor.seq)
            if (row.generation, row.seq) != (cursor.generation, cursor.seq):
                self._database.commit(moved)
            return await super().apply(cursor, entries, generation)

    return parts(ledger=Careless)


@control
def cancel_leaves_no_event() -> Any:
    return script_text("cancel", "append(ARGV[3], 1, ARGV[1], { ARGV[2], record.quantity })", "")


@control
def allowance_not_returned_on_expiry() -> Any:
    """The buyer's limit stays used up by a hold that expired."""
    return include_text("expire", "give_allowance_back(keys.buyers, allowance)", "")


@control
def hold_not_released_on_expiry() -> Any:
    """The sweep sees no deadline."""
    return script_text("expire", "tonumber(ARGV[2]), math.huge)", "0, math.huge)")


@control
def expired_hold_keeps_its_units() -> Any:
    """The event says expired; the counters do not move."""
    return script_text("expire", "'held', tonumber(pool[2]) - units", "'held', tonumber(pool[2])")


@control
def lost_tail_ignored() -> Any:
    """Recovery opens what it finds, without comparing it with SQL."""

    class Trusting(Recoverer):
        async def recover(
            self, shard: int, seen: Cursor, seen_opened: int, *, rebuild: bool
        ) -> Cursor | None:
            async def nothing(*_: Any) -> None:
                await asyncio.sleep(0)

            if seen.seq > 0:
                with mock.patch.object(self._rebuilder, "rebuild", nothing):
                    return await super().recover(shard, seen, seen_opened, rebuild=False)
            return await super().recover(shard, seen, seen_opened, rebuild=rebuild)

    return parts(recoverer=Trusting)


@control
def generation_not_bumped() -> Any:
    """A recovery goes on under the generation that it found."""

    class Same(SimulatedLedger):
        async def bump_generation(
            self, shard: int, from_generation: int, opened: int, owner: str, lease_ms: int
        ) -> Cursor | None:
            found = await super().cursor(shard)
            if found is not None and found.generation > 1:
                return found
            return await super().bump_generation(shard, from_generation, opened, owner, lease_ms)

        async def finish_recovery(self, shard: int, generation: int, owner: str) -> bool:
            await super().finish_recovery(shard, generation, owner)
            return True

        async def renew_recovery(
            self, shard: int, generation: int, owner: str, lease_ms: int
        ) -> bool:
            return True

    return parts(ledger=Same)


@control
def waiters_kept_across_generations() -> Any:
    """Whoever waits for seq 7 of one generation is content with seq 7 of the next, or any other."""

    class Patient(Credulous):
        def close_shard(self, shard: int) -> None:
            self._generation[shard] = ""

    return parts(applied=Patient)


@control
def sold_out_memory_forgets_winners() -> Any:
    """From memory "sold out" is said from memory to those, too, who hold something."""

    class Forgetful(Lanes):
        def submit(
            self, pool: str, digest: str, buyer: str, quantity: int, attests: str = ""
        ) -> Any:
            lane = self.lane(pool)
            if lane._known:
                lane._known = frozenset()
            return super().submit(pool, digest, buyer, quantity, attests)

    return parts(lanes=Forgetful)


@control
def payment_not_claimed() -> Any:
    """Confirm does not bind the payment to the reservation."""
    return script_text("confirm", "call('SET', KEYS[8], ARGV[4], 'PX', RETENTION_MS)", "")


@control
def expiry_wins_over_a_sale() -> Any:
    """The sweep ends whatever is past its deadline, sold or not."""
    return include_text("expire", "string.byte(packed) == 104 then", "true then")


@control
def stale_primary_accepted() -> Any:
    """A data set of a past generation that stands high enough is taken for the newest."""

    class Forgetful(SimulatedLedger):
        async def opened_generation(self, shard: int) -> int:
            return 0

        async def really_opened(self, shard: int) -> int:
            return await super().opened_generation(shard)

    class Seeing(Recoverer):
        async def opened_generation(self, shard: int) -> int:
            ledger: Any = self._ledger
            opened: int = await ledger.really_opened(shard)
            return opened

    class Blind(Gate):
        async def _is_ours(self, shard: int, cursor: Cursor, opened: int) -> bool:
            return await super()._is_ours(shard, cursor, cursor.generation)

    return parts(ledger=Forgetful, recoverer=Seeing, gate=Blind)


@control
def late_payment_oversells() -> Any:
    """A payment after expiry is served whether or not stock is left."""
    return script_text("confirm", "if available < quantity or ", "if ")


@control
def replay_takes_stock_again() -> Any:
    """A known key is not looked for."""
    return script_text("reserve", "local known = existing[index] or granted[digest]", "local known")


@control
def gate_opens_without_marker() -> Any:
    """A restarted server is taken for the one we knew: its scripts are just loaded again.

    And numbers for decisions, else what that costs is only that somebody has to ask again.
    """

    class Trusting(Gate):
        async def _let_in(self, shard: int, cursor: Cursor, *, marked: bool) -> bool:
            return await super()._let_in(shard, cursor, marked=False)

    return parts(gate=Trusting, applied=Credulous)


@control
def fence_lost_by_the_store() -> Any:
    """A fenced answer is taken for an answer; the gate stays open."""

    class Deaf(HotStore):
        def _lose(self, shard: int, lost: Any) -> None:
            """Nobody is told."""

    return parts(store=Deaf)
