"""When each buyer's request goes out: the shop spreads the rush of the first moments.

Without it everybody's browser asks in the same millisecond, the first in line are those with
the shortest wire, and the service sees its whole day in one second. So each buyer has a delay of
his own, drawn from who he is and what is sold: loading the page again does not draw another. He
is told of it.
"""

from __future__ import annotations

import hashlib


def delay_ms(buyer: str, pool: str, spread_ms: int) -> int:
    """How long after the opening this buyer's request goes out: 0 … ``spread_ms`` - 1."""
    if spread_ms <= 0:
        return 0
    drawn = hashlib.sha256(f"{pool}\n{buyer}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") % spread_ms
