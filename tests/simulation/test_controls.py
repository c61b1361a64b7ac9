"""Every bug that is put in on purpose is noticed, or the simulator is blind in that place."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from tests.simulation import (
    controls_groups,
    controls_rebuild,
    controls_replaced,
    controls_rules,
)
from tests.simulation.controls import CONTROLS
from tests.simulation.world import simulate

SEEDS_MAX = 250
assert controls_rebuild.CONTROLS is controls_replaced.CONTROLS is CONTROLS, "all are registered"
assert controls_rules.CONTROLS is controls_groups.CONTROLS is CONTROLS, "all are registered"
WORLDS: dict[str, dict[str, Any]] = {
    "decisions_cut_in_two": {"faults": ("sql_slow", "redis_lost_everything")},
    "gate_opens_without_marker": {"faults": ("replica_promoted",)},
    "log_trimmed_unread": {"faults": ("sql_slow", "sql_away")},
    "one_shard_opens_the_others": {"faults": ("replica_promoted",), "shard_count": 2},
    "recovery_goes_on_anywhere": {"faults": ("became_a_copy",)},
    "stale_primary_accepted": {"faults": ("replica_promoted", "old_primary_returns")},
    "stream_ids_trusted": {"faults": ("replica_promoted", "redis_clock_jumps")},
    "waiters_kept_across_generations": {"faults": ("replica_promoted",)},
}
"""What worlds must be like to show those that ordinary ones show once in hundreds or thousands."""


def test_there_are_enough_of_them():
    assert len(CONTROLS) >= 15


@pytest.mark.timeout(300)
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
