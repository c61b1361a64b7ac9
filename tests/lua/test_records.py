"""The record is written in two languages; each reads what the other wrote."""

from __future__ import annotations

import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from flashstock.hotpath.scripts import script_directory
from flashstock.model.records import LETTER_OF, ReservationRecord, unpack_record
from flashstock.model.rules import TIME_MS_MAX
from flashstock.model.states import ReservationState

names = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), max_codepoint=0x2FFF), min_size=1, max_size=20
)
"""No control characters: the door refuses them."""

records = st.builds(
    ReservationRecord,
    state=st.sampled_from(ReservationState),
    deadline_ms=st.integers(0, TIME_MS_MAX),
    generation=st.integers(1, 10**9),
    seq=st.integers(1, 2**53 - 1),
    quantity=st.integers(1, 10**6),
    pool=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True),
    buyer=names,
    cart=st.just("") | names,
    payment_ref=st.just(""),
) | st.builds(
    ReservationRecord,
    state=st.sampled_from([ReservationState.CONFIRMED, ReservationState.RETURNED]),
    deadline_ms=st.integers(0, TIME_MS_MAX),
    generation=st.integers(1, 10**9),
    seq=st.integers(1, 2**53 - 1),
    quantity=st.integers(1, 10**6),
    pool=st.just("p"),
    buyer=names,
    cart=st.just("") | names,
    payment_ref=names,
    order_index=st.integers(1, 2**53 - 1),
    returned=st.integers(0, 10**6),
)

INCLUDE = (script_directory() / "include" / "record.lua").read_text()
LUA = f"""
local call = redis.call
{INCLUDE}
local record = parse_record(ARGV[1])
local again = pack_record(record.state, record.deadline_ms, record, record.payment)
return {{ record.state, string.format('%.0f', record.deadline_ms), record.quantity,
  record.pool_id, record.buyer, again, same_payload(ARGV[1], ARGV[2]) and 1 or 0,
  same_payload(ARGV[1], ARGV[3]) and 1 or 0 }}
"""


@given(record=records)
def test_python_reads_what_python_wrote(record):
    assert unpack_record(record.pack()) == record


def test_lua_reads_and_writes_what_python_does(hot_server):
    with redis.Redis.from_url(hot_server) as client:
        run = client.register_script(LUA)

        @settings(max_examples=300)
        @given(record=records, other=st.integers(1, 10**6))
        def check(record, other):
            packed = record.pack()
            rest = f"\t{record.pool}\t{record.buyer}\t{record.cart}"
            tail, foreign = f"{record.quantity}{rest}", f"{record.quantity + other}{rest}"
            reply = run(args=[packed, tail, foreign])
            letter, deadline, quantity, pool, buyer, again, same, different = reply
            assert letter.decode() == LETTER_OF[record.state]
            assert (int(deadline), quantity) == (record.deadline_ms, record.quantity)
            assert (pool.decode(), buyer.decode()) == (record.pool, record.buyer)
            assert again.decode() == packed
            assert (same, different) == (1, 0)

        check()
