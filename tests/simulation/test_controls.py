"""Every bug that is put in on purpose is noticed, or the simulator is blind in that place."""

from __future__ import annotations

import gc
import inspect
import sys
from typing import Any

import pytest

from flashstock.hotpath import scripts
from flashstock.recovery.rebuild import Rebuilder
from tests.simulation import (
    controls_groups,
    controls_outages,
    controls_rebuild,
    controls_replaced,
    controls_rules,
)
from tests.simulation.controls import CONTROLS
from tests.simulation.loop import SimulatedLoop
from tests.simulation.world import simulate

SEEDS_MAX = 1_000
"""The rarest are noticed by one world in 200, about; most by one of the first twenty."""
assert controls_rebuild.CONTROLS is controls_replaced.CONTROLS is CONTROLS, "all are registered"
assert controls_rules.CONTROLS is controls_groups.CONTROLS is CONTROLS, "all are registered"
assert controls_outages.CONTROLS is CONTROLS, "all are registered"
WORLDS: dict[str, dict[str, Any]] = {
    "decisions_cut_in_two": {"faults": ("sql_slow", "redis_lost_everything")},
    "gate_opens_without_marker": {"faults": ("replica_promoted",)},
    "log_trimmed_unread": {"faults": ("sql_slow", "sql_away")},
    "one_shard_opens_the_others": {"faults": ("replica_promoted",), "shard_count": 2},
    "outages_forgotten": {"faults": ("long_outage",)},
    "outages_given_back_twice": {"faults": ("long_outage", "everything_killed")},
    "recovery_goes_on_anywhere": {"faults": ("became_a_copy",)},
    "stale_primary_accepted": {"faults": ("replica_promoted", "old_primary_returns")},
    "stream_ids_trusted": {"faults": ("replica_promoted", "redis_clock_jumps")},
    "waiters_kept_across_generations": {"faults": ("replica_promoted",)},
}
"""What worlds must be like to show those that ordinary ones show once in hundreds or thousands."""


def test_there_are_enough_of_them():
    assert len(CONTROLS) >= 15


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_the_bug_is_caught(name: str):
    for seed in range(1, SEEDS_MAX + 1):
        with CONTROLS[name]() as parts:
            told = {"groups": name in controls_groups.NAMES, **WORLDS.get(name, {})}
            result = simulate(seed, parts, violations_max=1, **told)
        if result.violations:
            return
        if seed % 10 == 0:
            gc.collect()
    pytest.fail(f"{name}: {SEEDS_MAX} worlds and no violation")


@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_a_world_that_is_cut_off_leaves_no_bug_to_the_next(name: str, monkeypatch):
    """Somebody presses Ctrl-C while two shards are rebuilt."""
    product = _product()
    rebuilding = 0

    async def clear(*arguments: Any, _original: Any = Rebuilder._clear) -> None:
        nonlocal rebuilding
        rebuilding += 1
        await _original(*arguments)

    def advance(loop: Any, limit_s: float, _original: Any = SimulatedLoop._advance) -> None:
        if rebuilding == 2:
            raise KeyboardInterrupt
        _original(loop, limit_s)

    with monkeypatch.context() as patches:
        patches.setattr(Rebuilder, "_clear", clear)
        patches.setattr(SimulatedLoop, "_advance", advance)
        with pytest.raises(KeyboardInterrupt), CONTROLS[name]() as parts:
            simulate(1, parts, faults=("redis_lost_everything",), shard_count=2)
    assert _product() == product


@pytest.mark.parametrize("name", sorted(name for name in CONTROLS if name.startswith("rebuild_")))
def test_rebuilds_that_overlap_leave_no_bug_to_the_next_world(name: str):
    product = _product()
    with CONTROLS[name]() as parts:
        simulate(1, parts, faults=("redis_lost_everything",), shard_count=2, violations_max=1)
    assert _product() == product


def _product() -> dict[str, Any]:
    """What the package consists of: functions, classes and their members, and scripts."""
    modules = [module for name, module in sys.modules.items() if name.startswith("flashstock")]
    named = {
        value for module in modules for value in vars(module).values() if inspect.isclass(value)
    }
    classes = [kind for kind in named if kind.__module__.startswith("flashstock")]
    places: list[Any] = [*modules, *classes]
    found = {
        f"{place.__name__}.{name}": id(value)
        for place in places
        for name, value in vars(place).items()
        if callable(value)
    }
    return {**found, **scripts.script_set(0, "1", 86_400_000).shas}
