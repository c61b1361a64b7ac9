"""``python -m tests.simulation --seed N`` replays one world; ``--seeds N`` runs many."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from multiprocessing import Pool

from tests.simulation.faults import KINDS
from tests.simulation.world import Result, simulate


def _prepare() -> None:
    """What is imported stays for good; what a world leaves behind is collected between two."""
    gc.collect()
    gc.freeze()


def _simulate_and_collect(faults: Sequence[str], seed: int) -> Result:
    result = simulate(seed, faults=faults)
    gc.collect()
    return result


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _show(result: Result) -> None:
    _say(
        f"seed {result.seed}: trace {result.trace}, {result.steps} steps, {result.scripts} scripts,"
        f" {result.commits} commits, {result.acknowledged} acknowledgements,"
        f" {result.virtual_s:.1f} virtual seconds",
        *(f"  fault     {fault}" for fault in result.faults),
        *(f"  VIOLATION {violation}" for violation in result.violations),
    )


def main() -> int:
    """0: no violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--seeds", type=int, default=200, help="how many to run")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="stop after so long")
    parser.add_argument(
        "--faults", nargs="+", default=(), choices=sorted(KINDS), help="only these, but many"
    )
    parser.add_argument("--verbose", action="store_true", help="show what the product logs")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    if options.seed is not None:
        level = logging.INFO if options.verbose else logging.ERROR
        result = simulate(options.seed, faults=options.faults, log_level=level)
        _show(result)
        return 1 if result.violations else 0
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    totals: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    with Pool(options.jobs, initializer=_prepare) as pool:
        simulated = partial(_simulate_and_collect, options.faults)
        for result in pool.imap_unordered(simulated, seeds, chunksize=20):
            totals["seeds"] += 1
            totals["scripts"] += result.scripts
            totals["acknowledged"] += result.acknowledged
            totals["faults"] += len(result.faults)
            kinds.update(fault.split()[1] for fault in result.faults)
            if result.violations:
                totals["violated"] += 1
                _show(result)
            if options.minutes and time.monotonic() - started > options.minutes * 60:
                pool.terminate()
                break
    elapsed = time.monotonic() - started
    _say(
        f"{totals['seeds']} seeds from {options.first}, {totals['violated']} with violations,"
        f" {totals['scripts']} scripts, {totals['acknowledged']} acknowledgements,"
        f" {totals['faults']} faults of {len(kinds)} kinds,"
        f" {totals['seeds'] / elapsed:.1f} seeds/s"
    )
    return 1 if totals["violated"] else 0


if __name__ == "__main__":
    sys.exit(main())
