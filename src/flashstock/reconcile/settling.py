"""Telling a difference between the stores from an event that is on its way to SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flashstock.reconcile.compare import Difference

SETTLE_TIMEOUT_S: Final = 5.0
SETTLE_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Look:
    """Both stores, read one after the other."""

    store: Mapping[str, Any]
    """Subject → what Redis says of it."""
    seq: int
    """Where in the log Redis was read."""
    differing: Sequence[Difference]


async def sorted_out(
    first: Look,
    look_again: Callable[[list[str]], Awaitable[Look]],
    cursor_seq: Callable[[], Awaitable[int]],
    sleep: Callable[[float], Awaitable[None]],
) -> tuple[list[Difference], list[Difference]]:
    """Look again at what looks different, until it is explained or plainly different.

    Certain is what Redis said before the writer passed that point and says unchanged after:
    SQL was read in between, and should have said the same.

    Args:
        look_again: at these subjects, SQL first.
        cursor_seq: up to where SQL has followed the log.

    Returns:
        What is wrong: (certainly, perhaps only on its way to SQL).
    """
    certain: list[Difference] = []
    seen, suspects = first, list(first.differing)
    deadline = asyncio.get_running_loop().time() + SETTLE_TIMEOUT_S
    while suspects:
        passed = await cursor_seq() >= seen.seq
        late = asyncio.get_running_loop().time() > deadline
        if passed or late:
            again = await look_again([difference.subject for difference in suspects])
            suspects = []
            for difference in again.differing:
                subject = difference.subject
                unchanged = passed and again.store.get(subject) == seen.store.get(subject)
                (certain if unchanged else suspects).append(difference)
            seen = again
        if late:
            break
        await sleep(SETTLE_POLL_S)
    return certain, suspects
