"""What the state machine of groups chooses from."""

from __future__ import annotations

import hypothesis.strategies as st

from flashstock.model.eligibility import Attests
from flashstock.model.group_rules import GroupDeduct, GroupRules, GroupType
from flashstock.model.states import ReservationState
from tests.reference.asking import HOLD_MS
from tests.reference.subjects import RETENTION_MS

LIFE_MS = 3 * HOLD_MS
PAY, FORM = GroupDeduct.PAY, GroupDeduct.FORM
RULES = {
    "pay": GroupRules(3, LIFE_MS, groups_per_buyer=2, house_max=1),
    "form": GroupRules(3, LIFE_MS, open_max=8, seats_per_buyer=2, deduct=FORM, house_max=1),
    "pair": GroupRules(2, HOLD_MS // 2, open_max=3, type=GroupType.NEWCOMERS),
    "g:big": GroupRules(5, 2 * LIFE_MS, open_max=8, seats_per_buyer=3, deduct=FORM, house_max=2),
}
"""Of the pools; units are short in each."""
TOTALS = {"pay": 8, "form": 7, "pair": 9, "g:big": 6}
LIMITS = {"pay": 0, "form": 4, "pair": 3, "g:big": 0}
LOCKED = 2
OTHER_RULES = {
    "pay": GroupRules(3, LIFE_MS, deduct=FORM),
    "form": GroupRules(2, LIFE_MS, open_max=8, house_max=1),
    "pair": GroupRules(2, LIFE_MS, open_max=2),
    "g:big": GroupRules(4, LIFE_MS, open_max=8, seats_per_buyer=2),
}
"""Rules may change: each group keeps its own."""
UNPAID = (ReservationState.HELD, ReservationState.ORDERED)
LATE = (ReservationState.EXPIRED,)
PAID = (ReservationState.PAID, ReservationState.CONFIRMED)

pools = st.sampled_from(tuple(RULES))
choices = st.integers(0, 999)
wants = st.sampled_from(["open", "match", "match", "join", "join", "join"])
requests = st.tuples(
    st.sampled_from([None] * 9 + [0]),
    st.sampled_from("abcde"),
    st.sampled_from([1, 1, 1, 2]),
    wants,
    choices,
    st.sampled_from(["", Attests(new_buyer=True).packed()]),
)
"""Key (``None``: a new one), buyer, units, what is wanted, which group, what is attested."""
payments = st.sampled_from([None] * 8 + ["pay0", "pay1"])
moments = st.sampled_from([1, HOLD_MS // 2, HOLD_MS, LIFE_MS, RETENTION_MS])
