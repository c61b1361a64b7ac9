"""When a delivery is tried again. Pure: the schedule is kept in SQL and outlives every process,
which a retry library that sleeps in one process does not.
"""

from __future__ import annotations

from typing import Final

TRIES_MAX: Final = 12
"""Tries of one delivery, at most; then it is dead, until a person has it tried again."""
ORDERED_TRIES: Final = 5
"""After so many, a delivery steps aside: what comes after it waits no longer."""
FIRST_DELAY_MS: Final = 5_000
FACTOR: Final = 3
DELAY_MS_MAX: Final = 6 * 3_600_000


def retry_delay_ms(tries: int, dice: float, asked_ms: int = 0) -> int:
    """How long to wait after so many tries that failed: 5 s, 15 s, 45 s, … 6 h, 6 h.

    Args:
        tries: 1 or more.
        dice: 0 ≤ dice < 1, drawn anew each time; the wait is between half of the step and all of
            it, so that what failed together does not come back together.
        asked_ms: what the receiver asked for (``Retry-After``); never waited for longer than the
            longest step.
    """
    step_ms = DELAY_MS_MAX
    if tries <= 20:
        step_ms = min(FIRST_DELAY_MS * FACTOR ** (tries - 1), DELAY_MS_MAX)
    waited_ms = step_ms // 2 + int(step_ms / 2 * dice)
    return max(waited_ms, min(asked_ms, DELAY_MS_MAX))
