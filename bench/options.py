"""What one run does, in one frozen object; ``--smoke`` is a smaller one of the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Options:
    """Every knob of a run. Durations are seconds, as people think of them."""

    rounds: int = 5
    seconds: float = 6.0
    """Of load per measurement, after its warm-up. wrk takes whole seconds."""
    warm_up_seconds: float = 2.0
    connections: int = 256
    workers: int = 1
    server: Literal["uvicorn", "granian"] = "uvicorn"
    only: tuple[str, ...] = ()
    """Ratios to measure; none named means all."""
    batch_items: int = 64
    engine_reservations: int = 65_536
    """Reservations per engine measurement, whatever the batch size."""
    smoke: bool = False
    """Whether figures are beside the point: measurements then share one service, each with a pool
    of its own, and nothing gives up early because the machine is busy."""


SMOKE = Options(
    rounds=1,
    seconds=1.0,
    warm_up_seconds=0.2,
    connections=8,
    batch_items=8,
    engine_reservations=640,
    smoke=True,
)
"""All code paths in little time. Its figures mean nothing."""
