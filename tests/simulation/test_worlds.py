"""Hundreds of simulated worlds, each with its own bad luck; none may break a promise."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.world import simulate

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 240
SLICE = 40


@pytest.fixture(autouse=True, scope="module")
def frozen_imports():
    """What is imported already is not looked through again after every world."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("first", range(1, SEEDS, SLICE))
def test_no_world_breaks_a_promise(first: int):
    broken = {}
    for seed in range(first, first + SLICE):
        result = simulate(seed)
        if result.violations:
            broken[f"make simulate SEED={seed}"] = result.violations
        gc.collect()
    assert broken == {}


def test_worlds_are_not_idle():
    results = [simulate(seed) for seed in range(1, 31)]
    assert sum(result.acknowledged for result in results) > 200
    assert sum(result.scripts for result in results) > 800
    assert len({fault.split()[1] for result in results for fault in result.faults}) > 12


@pytest.mark.parametrize("seed", [7, 5011])
def test_the_same_seed_does_the_same_to_the_letter(seed):
    def trace(hash_seed: str) -> str:
        finished = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", str(seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return finished.stdout

    assert trace("1") == trace("2")
    assert f"trace {simulate(seed).trace}" in trace("3")


def test_other_seeds_do_something_else():
    assert len({simulate(seed).trace for seed in range(1, 6)}) == 5
