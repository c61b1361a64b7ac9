"""Packed records. (``tests/lua/test_records.py`` has the round trips, with Lua.)"""

from __future__ import annotations

import pytest

from flashstock.model.records import LETTER_OF, STATE_LETTERS, ReservationRecord, unpack_record
from flashstock.model.rules import PoolCounters
from flashstock.model.states import ReservationState

HELD = ReservationRecord(ReservationState.HELD, 1_700_000_000_000, 3, 42, 2, "p", "ann")


def test_the_format_is_what_is_stored():
    """A person reads it with redis-cli, and the next version must still."""
    assert HELD.pack() == "h1700000000000\t3\t42\t2\tp\tann\t"
    paid = ReservationRecord(
        ReservationState.RETURNED, 1, 3, 42, 2, "p", "ann", "cart", "pay", 7, 2
    )
    assert paid.pack() == "r0000000000001\t3\t42\t2\tp\tann\tcart\tpay\t7\t2"


def test_every_state_has_its_letter():
    assert set(LETTER_OF) == set(ReservationState)
    assert set(STATE_LETTERS) == set(LETTER_OF.values())


@pytest.mark.parametrize(
    "packed",
    [
        "",
        "h",
        "z" + HELD.pack()[1:],
        HELD.pack().replace("\t", " "),
        HELD.pack() + "\t",
        HELD.pack() + "\tpay\t1",
        HELD.pack().replace("42", "4x2"),
        HELD.pack().replace("1700000000000", ""),
    ],
)
def test_what_no_script_wrote_is_refused(packed):
    with pytest.raises(ValueError):  # noqa: PT011 (whatever int() says of it will do)
        unpack_record(packed)


@pytest.mark.parametrize(
    ("counters", "balanced"),
    [
        (PoolCounters(), True),
        (PoolCounters(10, 4, 3, 2, 1), True),
        (PoolCounters(10, 5, 3, 2, 1), False),
        (PoolCounters(10, -1, 6, 4, 1), False),
        (PoolCounters(10, 11, -1, 0, 0), False),
        (PoolCounters(10, 11, 0, -1, 0), False),
        (PoolCounters(10, 11, 0, 0, -1), False),
    ],
)
def test_every_unit_is_somewhere(counters, balanced):
    assert counters.balanced() is balanced
