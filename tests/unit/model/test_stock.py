"""The words of the stock book: every kind has its ways, and a posting books both sides."""

from __future__ import annotations

from typing import get_args

import pytest

from flashstock.api.schemas_stock import MovementRequest
from flashstock.model.stock import (
    DRAWABLE,
    KIND_RULES,
    MANUAL_KINDS,
    OUTSIDE,
    PHYSICAL,
    MovementKind,
    Posting,
    StockState,
    balance_deltas,
    manual_pair,
    may_move,
)

S, K = StockState, MovementKind
ALL = [(kind, pair) for kind, rule in KIND_RULES.items() for pair in (*rule.manual, *rule.others)]


def test_every_kind_has_its_rule_and_people_post_exactly_the_manual_ones():
    assert set(KIND_RULES) == set(MovementKind)
    asked_for = MovementRequest.model_fields["kind"].annotation
    assert set(get_args(asked_for)) == {kind.value for kind in MANUAL_KINDS}


@pytest.mark.parametrize(("kind", "pair"), ALL)
def test_a_posting_books_both_sides(kind, pair):
    """What is owned changes by what crosses the border, and by nothing else."""
    source, target = pair
    deltas = balance_deltas(Posting("cap", "east", source, target, 7))
    owned = deltas.get("on_hand", 0) + deltas.get("in_transit", 0)
    border = (*OUTSIDE, S.TRANSFER)
    assert owned == 7 * ((pair[0] in border) - (pair[1] in border))
    there = sum(deltas.get(state.value, 0) for state in PHYSICAL)
    assert there == deltas.get("on_hand", 0) + deltas.get("virtual", 0)
    assert may_move(kind, *pair)
    assert may_move(kind, *pair[::-1]), "a counter-movement"


def test_nobody_draws_on_what_is_withheld():
    assert not {S.LOCKED, S.UNSELLABLE, S.CAMPAIGN, S.OUTGOING} & set(DRAWABLE)
    for state in (S.LOCKED, S.UNSELLABLE, S.OUTGOING):
        assert not may_move(K.COMMIT, state, S.COMMITTED)


def test_a_way_is_found_by_what_is_named_of_it():
    assert manual_pair(K.RECEIVE, None, None) == (S.SUPPLIER, S.AVAILABLE)
    assert manual_pair(K.RECEIVE, None, S.UNSELLABLE) == (S.SUPPLIER, S.UNSELLABLE)
    assert manual_pair(K.INSPECT, S.UNSELLABLE, None) == (S.UNSELLABLE, S.AVAILABLE)
    assert manual_pair(K.RECEIVE, None, S.VIRTUAL) is None
    assert manual_pair(K.ALLOCATE, None, None) is None
