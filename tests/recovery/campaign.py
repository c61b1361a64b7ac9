"""How often the tests that draw at random draw: ``CAMPAIGN=100 pytest --timeout 0 tests/recovery``.

The seed of every draw is part of the failure, so it can be drawn again: ``SEED=… CAMPAIGN=1``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

FACTOR = int(os.environ.get("CAMPAIGN", "1"))


def draws(often: int) -> Iterator[tuple[str, Random]]:
    """``often`` times the factor: a name for the draw, and its own source of chance."""
    if "SEED" in os.environ:
        seeds = range(int(os.environ["SEED"]), int(os.environ["SEED"]) + often * FACTOR)
    else:
        seeds = range(1, 1 + often * FACTOR)
    for seed in seeds:
        yield f"SEED={seed}", Random(seed)
