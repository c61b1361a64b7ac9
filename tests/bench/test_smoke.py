"""The benchmark suite runs, tiny, so that it does not rot. What it measures is not looked at."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from bench.driver import arrivals, percentile
from bench.measurements import MEASUREMENTS
from bench.options import SMOKE, Options
from bench.ratios import RATIOS
from bench.rounds import order_of, plan

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.acceptance
@pytest.mark.timeout(300)
def test_a_tiny_run_gives_every_ratio_and_leaves_the_books_balanced():
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "--smoke", "--json"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert result["raw"]["failure"] == ""
    assert set(result["ratios"]) == set(RATIOS)
    for letter, value in result["ratios"].items():
        assert math.isfinite(value), letter
        assert value > 0, letter
    measured = result["raw"]["measurements"]
    assert set(measured) == set(MEASUREMENTS)
    for name in ("fast_rps", "ledger_rps", "sold_out_rps", "batch_rps"):
        [detail] = measured[name]["details"]
        books = detail["reconciliation"]
        assert (books["oversold"], books["lost"], books["differences_count"]) == (0, 0, 0), name


def test_every_ratio_is_made_of_measurements_that_are_taken():
    for letter in RATIOS:
        taken = {one.name for one in plan(Options(only=(letter,)))}
        assert set(RATIOS[letter].measurements) <= taken
        for name in taken:
            assert set(MEASUREMENTS[name].needs) <= taken


def test_every_round_takes_everything_once_and_needs_come_first():
    options = Options(rounds=5)
    measurements = plan(options)
    firsts = set()
    for number in range(options.rounds):
        names = [one.name for one in order_of(measurements, number, options.rounds)]
        assert sorted(names) == sorted(MEASUREMENTS)
        for one in measurements:
            assert all(names.index(need) < names.index(one.name) for need in one.needs)
        firsts.add(names[0])
    assert len(firsts) == options.rounds


def test_open_loop_arrivals_keep_their_rate_and_their_grid():
    moments = arrivals(rate=2_000, seconds=10)
    assert len(moments) == pytest.approx(20_000, rel=0.05)
    assert moments == sorted(moments)
    assert all(abs(moment * 1_000 - round(moment * 1_000)) < 1e-6 for moment in moments)


def test_percentiles_are_nearest_rank():
    assert percentile([], 99) == 0.0
    assert percentile([float(n) for n in range(1, 101)], 99) == 99.0
    assert percentile([1.0, 2.0], 100) == 2.0


def test_a_ratio_is_missing_where_its_bottom_is():
    assert RATIOS["A"].of({"fast_rps": 1.0}) is None
    assert RATIOS["B2"].of({"engine_us": 4.0}) == 250_000
    assert SMOKE.smoke


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_tiny_stock_book_is_filled_timed_and_found_right():
    ended = subprocess.run(
        [sys.executable, "-m", "bench.book", "--smoke", "--json"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout)
    assert (result["skus"], result["movements"]) == (50, 1_000)
    for database in ("postgresql", "sqlite"):
        timed = result[database]["timed"]
        assert {"identity proof", "deep proof", "a posting"} <= set(timed)
        assert all(one["p50_ms"] > 0 for one in timed.values())
