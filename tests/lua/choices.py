"""What the state machine chooses from: pools, requests, payments, commands, rules and moments."""

from __future__ import annotations

import hypothesis.strategies as st

from flashstock.model.eligibility import Attests
from flashstock.model.states import DeductMode, ReservationState
from tests.reference.asking import HOLD_MS
from tests.reference.subjects import RETENTION_MS

POOLS = ("p", "q", "w", "g:1", "g:2")
LIMITS = {"p": 3, "q": 0, "w": 2, "g:1": 3, "g:2": 3}
GROUPED = ("g:1", "g:2")
"""Two pools that count their limit together."""
ATTESTED = (
    (False, False, 0, "app"),
    (True, False, 4, "app"),
    (True, True, 5, "web"),
    (False, True, 9, ""),
)
DOORS = {
    "new buyers": {"audience": "new"},
    "named buyers": {"audience": "named"},
    "level": {"audience": "level:5"},
    "app only": {"channels": "app"},
    "web and mini": {"channels": "web,mini"},
    "everyone": {"audience": "", "channels": ""},
}
MODES = {f"deduct by {mode.value}": {"deduct": mode.value} for mode in DeductMode}
PAYABLE = (ReservationState.HELD, ReservationState.ORDERED, ReservationState.EXPIRED)
FIRST_CART_KEY = 10_000
"""Keys from here on are lines of carts: two for each cart."""

pools = st.sampled_from(POOLS)
choices = st.integers(0, 999)
"""Which of the reservations there are; one in twenty times one that there is not."""
attested = st.sampled_from(
    ["", "", *(Attests(*said).packed() for said in ATTESTED)],
)
requests = st.tuples(
    st.sampled_from([None] * 8 + [0, 1]),
    st.sampled_from("abcde"),
    st.sampled_from([1, 1, 2, 3]),
    attested,
)
"""Key (``None``: a new one), buyer, quantity, what is attested."""
payments = st.sampled_from([None] * 6 + ["pay0", "pay1"])
"""``None``: a new payment."""
commands = st.sampled_from([None] * 6 + ["command 0", "command 1"])
"""``None``: a new command."""
rules = st.sampled_from(
    [
        "pause",
        "resume",
        "resume",
        "resume",
        "raise limit",
        "wave",
        "close",
        *DOORS,
        "everyone",
        *MODES,
    ]
)
moments = st.sampled_from([1, 999, HOLD_MS // 2, HOLD_MS, 2 * HOLD_MS, RETENTION_MS])
modes = st.sampled_from(DeductMode)
