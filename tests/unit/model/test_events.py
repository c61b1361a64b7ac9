"""What the log says, read and written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.model import events
from flashstock.model.events import (
    EVENT_KINDS,
    Event,
    LogEntry,
    MalformedEntry,
    decode,
    decode_rules,
    encode,
    encode_rules,
    events_in,
    split,
)
from flashstock.model.rules import PoolRules, Wave
from flashstock.model.states import (
    DeductMode,
    Durability,
    FailReason,
    PoolState,
    ReservationState,
)

names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
digests = st.from_regex(r"[A-Za-z0-9_-]{16}", fullmatch=True)
times = st.integers(0, 9_999_999_999_999)
quantities = st.integers(1, 10**6)
waves = st.lists(st.builds(Wave, times, quantities), max_size=4).map(
    lambda found: tuple(sorted(found, key=lambda wave: wave.at_ms))
)
rules = st.builds(
    PoolRules,
    sku=names,
    state=st.sampled_from(PoolState),
    per_buyer_limit=st.integers(0, 100),
    hold_ms=st.integers(1, 604_800_000),
    starts_at_ms=times,
    ends_at_ms=times,
    durability=st.sampled_from(Durability),
    waves=waves,
    audience=st.sampled_from(["", "new", "named", "level:7"]),
    channels=st.sampled_from(["", "app", "app,mini-program"]),
    deduct=st.sampled_from(DeductMode),
    group_buy=st.sampled_from(["", "3:60000:0:1:0:ordinary:pay:0:"]),
)
ended = (ReservationState.CANCELLED, ReservationState.EXPIRED, ReservationState.REVOKED)
hold = st.builds(events.Hold, digests, names, quantities, st.just("") | names)
release = st.builds(events.Release, digests, quantities)
granted = st.sampled_from([ReservationState.HELD, ReservationState.ORDERED])
held = st.builds(events.Held, names, times, times, st.lists(hold, min_size=1).map(tuple), granted)
releases = st.lists(release, min_size=1).map(tuple)
released = st.builds(events.Released, names, times, st.sampled_from(ended), releases)
before = granted | st.just(ReservationState.EXPIRED)
index = st.integers(1, 10**14)
paid = st.sampled_from([ReservationState.CONFIRMED, ReservationState.PAID])
refunded = st.builds(events.RefundedSeat, digests, paid, quantities, names, names)
signed = st.integers(-(10**9), 10**9)
any_event = st.one_of(
    held,
    released,
    st.builds(
        events.Withdrawn,
        names,
        times,
        digests,
        quantities,
        st.sampled_from([ReservationState.CANCELLED, ReservationState.REVOKED]),
    ),
    st.builds(events.Confirmed, names, times, digests, before, quantities, names, names, index),
    st.builds(events.RefundDue, names, times, digests, quantities, names, names),
    st.builds(events.Extended, names, times, digests, times),
    st.builds(events.Postponed, names, st.just(10**12), st.integers(0, 10**12), quantities),
    st.builds(
        events.Returned,
        names,
        times,
        digests,
        quantities,
        quantities,
        st.booleans(),
        digests,
        st.integers(0, 10**6),
        st.booleans(),
    ),
    st.builds(events.Adjusted, names, times, signed, signed, digests),
    st.builds(events.WaveReleased, names, times, quantities, waves),
    st.builds(events.Configured, names, times, rules, st.booleans(), quantities, quantities),
    st.builds(events.Repaired, names, times, names),
    st.builds(
        events.GroupsOpened,
        names,
        times,
        times,
        st.just("3:60000:0:1:0:ordinary:pay:0:"),
        st.lists(digests, min_size=1).map(tuple),
    ),
    st.builds(events.SeatPaid, names, times, digests, before, quantities, names, names, index),
    st.builds(events.SeatsServed, names, times, digests, releases),
    st.builds(events.GroupFormed, names, times, digests, quantities, quantities),
    st.builds(events.GroupFailed, names, times, digests, st.sampled_from(FailReason), quantities),
    st.builds(
        events.SeatsRefunded, names, times, digests, st.lists(refunded, min_size=1).map(tuple)
    ),
    st.builds(events.OpenerPassed, names, times, digests, digests),
)


def entry_of(event: Event, seq: int = 1) -> LogEntry:
    kind, payload = encode(event)
    return LogEntry(0, 1, seq, events_in(event), kind, payload)


@given(any_event)
def test_an_event_is_read_as_it_was_written(event):
    assert decode(entry_of(event)) == event


def test_rules_that_were_written_before_there_were_these_are_read():
    """The journal keeps what older versions wrote for ever."""
    groups = "3:60000:0:1:0:ordinary:pay:0:"
    rules = PoolRules("sku", audience="new", channels="app", deduct=DeductMode.ORDER)
    rules = replace(rules, group_buy=groups)
    fields = encode_rules(rules)
    for name in ("audience", "channels", "deduct", "group_buy"):
        del fields[name]
    assert decode_rules(fields) == PoolRules("sku")
    assert decode_rules({**fields, "deduct": ""}) == PoolRules("sku")


def test_every_kind_is_among_what_is_tried():
    tried = {"held", "cancelled", "expired", "revoked", "confirmed", "refund_due", "extended"}
    tried |= {"postponed", "returned", "adjusted", "wave_released", "configured", "repaired"}
    tried |= {"ordered", "withdrawn"}
    tried |= {"groups_opened", "seat_paid", "seats_served", "group_formed", "group_failed"}
    tried |= {"seats_refunded", "opener_passed"}
    assert tried == EVENT_KINDS


@given(any_event)
def test_the_parts_of_an_event_are_the_event(event):
    parts = split(event)
    assert len(parts) == events_in(event)
    assert {events_in(part) for part in parts} == {1}
    assert {type(part) for part in parts} == {type(event)}


@given(held)
def test_the_holds_of_the_parts_are_the_holds(event):
    parts = [part for part in split(event) if isinstance(part, events.Held)]
    holds = tuple(hold for part in parts for hold in part.holds)
    assert replace(parts[0], holds=holds) == event


@given(released)
def test_the_releases_of_the_parts_are_the_releases(event):
    parts = [part for part in split(event) if isinstance(part, events.Released)]
    releases = tuple(release for part in parts for release in part.releases)
    assert replace(parts[0], releases=releases) == event


@given(any_event, st.data())
def test_a_payload_that_lost_or_gained_a_field_is_never_another_event(event, data):
    """It is refused, or (a batch cut at a hold) its count gives it away."""
    entry = entry_of(event)
    fields = entry.payload.split("\t")
    if data.draw(st.booleans()):
        del fields[data.draw(st.integers(0, len(fields) - 1))]
    else:
        fields.insert(data.draw(st.integers(0, len(fields))), "x")
    with pytest.raises(MalformedEntry):
        decode(replace(entry, payload="\t".join(fields)))


HELD = entry_of(events.Held("p", 1, 2, (events.Hold("d" * 16, "ann", 1, ""),)))


@pytest.mark.parametrize(
    "entry",
    [
        replace(HELD, kind="unheard of"),
        replace(HELD, kind="confirmed"),
        replace(HELD, payload=""),
        replace(HELD, payload="p"),
        replace(HELD, payload="p\tnow"),
        replace(HELD, payload="p\t1"),
        replace(HELD, count=2),
        replace(HELD, count=0),
        replace(HELD, payload=HELD.payload.replace("\t1\t", "\tone\t")),
        LogEntry(0, 1, 1, 1, "configured", "p\t1\t1\t5\t0\tsku\ts"),
        LogEntry(0, 1, 1, 1, "confirmed", "p\t1\t" + "d" * 16 + "\tz\t1\tann\tpay\t1"),
        LogEntry(0, 1, 1, 0, "held", "p\t1\t2"),
        LogEntry(0, 1, 1, 1, "held", "p\t1\t2"),
    ],
)
def test_what_no_script_wrote_is_malformed(entry):
    with pytest.raises(MalformedEntry, match=f"seq {entry.seq}"):
        decode(entry)


def test_an_entry_knows_its_last_number():
    assert LogEntry(0, 1, 7, 3, "held", "").last_seq == 9


@given(rules)
def test_rules_are_read_as_they_were_written(written):
    assert events.decode_rules(events.encode_rules(written)) == written


def test_waves_are_written_in_order_of_time():
    """The scripts take the first one for the next one."""
    assert events.encode_waves((Wave(20, 1), Wave(10, 2))) == "10:2,20:1"
    assert events.decode_waves("") == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("state", "ajar"), ("durability", "maybe"), ("hold_ms", "long"), ("waves", "1:2:3")],
)
def test_rules_that_no_script_wrote_are_refused(name, value):
    fields = events.encode_rules(PoolRules("sku")) | {name: value}
    with pytest.raises(ValueError):  # noqa: PT011 (whatever the parser says of it will do)
        events.decode_rules(fields)
