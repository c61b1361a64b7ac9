"""The crowd's plan: the same for a seed, within its bounds, of every kind."""

from __future__ import annotations

import pytest

from flashstock.demo.options import DemoOptions
from flashstock.demo.scenario import Again, Intent, Phase, patient_seconds, plan
from flashstock.errors import ConfigurationError


def test_a_seed_is_a_crowd():
    assert plan(DemoOptions(seed=7)) == plan(DemoOptions(seed=7))
    assert plan(DemoOptions(seed=7)) != plan(DemoOptions(seed=8))


def test_the_default_crowd_has_all_kinds_of_buyers():
    options = DemoOptions()
    visits = plan(options)
    assert len(visits) == 20_000
    assert 4_800 < len({visit.buyer for visit in visits}) <= 5_000
    assert {visit.intent for visit in visits} == set(Intent)
    assert {visit.again for visit in visits} == set(Again)
    assert {visit.quantity for visit in visits} == {1, 2}
    assert [visit.number for visit in visits] == list(range(20_000))


def test_visits_come_in_the_order_of_the_phases_and_in_time():
    options = DemoOptions(requests=1_000, hold_seconds=2)
    visits = plan(options)
    phases = [visit.phase for visit in visits]
    assert phases == [Phase.EARLY] * 20 + [Phase.RUSH] * 600 + [Phase.PATIENT] * 380
    for phase, longest in ((Phase.EARLY, 1.0), (Phase.PATIENT, patient_seconds(2))):
        times = [visit.after_seconds for visit in visits if visit.phase is phase]
        assert times == sorted(times)
        assert times[0] >= 0.0
        assert times[-1] < longest


@pytest.mark.parametrize("requests", [1, 2, 10, 49])
def test_a_small_crowd_is_still_a_crowd(requests):
    assert len(plan(DemoOptions(requests=requests))) == requests


@pytest.mark.parametrize(
    "bad",
    [
        {"units": 0},
        {"units": 1_000_000_001},
        {"buyers": 0},
        {"requests": 0},
        {"requests": -5},
        {"hold_seconds": 0},
        {"per_buyer_limit": 0},
        {"concurrency": 0},
        {"port": 65_536},
    ],
)
def test_a_number_out_of_bounds_is_named(bad):
    (name,) = bad
    with pytest.raises(ConfigurationError, match=name):
        DemoOptions(**bad)
