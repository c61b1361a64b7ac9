"""What a run comes to decides its exit status, and `--json` is one object and nothing else."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from flashstock.client import Reconciliation
from flashstock.report.audit import Findings
from flashstock.report.outcome import Outcome
from flashstock.report.summary import print_outcome
from flashstock.report.tally import Tally, percentile


def reconciliation(**changes: Any) -> Reconciliation:
    clean: dict[str, Any] = {
        "pools_checked": 1,
        "reservations_checked": 9,
        "differences_count": 0,
        "lag_events": 0,
        "oversold": 0,
        "lost": 0,
        "ok": True,
        "invariants": {"balanced": True},
    }
    return Reconciliation(**(clean | changes))


def outcome(**changes: Any) -> Outcome:
    clean: dict[str, Any] = {
        "title": "a run of [day].csv",
        "address": "http://127.0.0.1:1",
        "seconds": 1.23456,
        "requests": 100,
        "throughput_rps": 81.0,
        "latency_ms": {"p50": 1.0, "p99": 9.0},
        "held": 9,
        "confirmed": 5,
        "expired": 3,
        "cancelled": 1,
        "refused": {"sold_out": 91},
        "findings": Findings(reservations_checked=9, pools_checked=1),
        "reconciliation": reconciliation(),
        "more": {"rows": 3},
    }
    return Outcome(**(clean | changes))


def printed(result: Outcome, *, json_output: bool) -> tuple[int, str]:
    stream = io.StringIO()
    status = print_outcome(result, {"held": 9}, json_output=json_output, stream=stream)
    return status, stream.getvalue()


def test_json_is_one_line_with_what_the_interface_promises():
    status, text = printed(outcome(), json_output=True)
    assert status == 0
    assert text.count("\n") == 1
    document = json.loads(text)
    assert (
        document.items()
        >= {
            "ok": True,
            "requests": 100,
            "held": 9,
            "confirmed": 5,
            "expired": 3,
            "cancelled": 1,
            "refused": {"sold_out": 91},
            "oversold": 0,
            "lost": 0,
            "differences": 0,
            "seconds": 1.235,
            "throughput_rps": 81.0,
            "latency_ms": {"p50": 1.0, "p99": 9.0},
            "rows": 3,
        }.items()
    )


def test_words_say_it_held():
    status, text = printed(outcome(), json_output=False)
    assert status == 0
    assert "oversold 0, lost 0, differences 0: every invariant held" in text
    assert "sold_out" in text
    assert "[day].csv" in text


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"reconciliation": reconciliation(oversold=2)}, (2, 0, 0)),
        ({"reconciliation": reconciliation(lost=3)}, (0, 3, 0)),
        ({"reconciliation": reconciliation(differences_count=4)}, (0, 0, 4)),
        ({"reconciliation": reconciliation(ok=False)}, (0, 0, 0)),
        ({"findings": Findings(oversold=1, differences=1)}, (1, 0, 1)),
        ({"findings": Findings(lost=1, differences=1)}, (0, 1, 1)),
        ({"broken_promises": ("two holds",)}, (0, 0, 1)),
        ({"oversold_seen": 7, "broken_promises": ("7 units",)}, (7, 0, 1)),
    ],
)
def test_whoever_sees_something_wrong_the_run_fails(changes, counts):
    result = outcome(**changes)
    assert (result.oversold, result.lost, result.differences) == counts
    for json_output in (True, False):
        status, text = printed(result, json_output=json_output)
        assert status == 1
        assert "every invariant held" not in text


def test_what_is_wrong_is_told_in_words():
    result = outcome(
        findings=Findings(differences=1, described=["p~1: is held"]),
        reconciliation=reconciliation(
            ok=False, differences=({"pool": "p"},), invariants={"balanced": False}
        ),
        broken_promises=("two [bold]holds",),
    )
    _, text = printed(result, json_output=False)
    for words in ("two [bold]holds", "p~1: is held", "{'pool': 'p'}", "balanced is broken"):
        assert words in text


def test_the_tally_counts_sends_and_takes_percentiles():
    tally = Tally()
    assert tally.latency_ms() == {"p50": 0.0, "p99": 0.0}
    for milliseconds in range(1, 101):
        tally.observe("reserve", 201, milliseconds / 1000)
    tally.observe("confirm", None, 0.05)
    tally.observe("confirm", 503, 0.05)
    assert tally.requests == 102
    assert tally.sent == {"reserve": 100, "confirm": 2}
    assert tally.sent_again == 2
    assert tally.latency_ms() == {"p50": 50.0, "p99": 99.0}


@pytest.mark.parametrize(("percent", "value"), [(1, 1.0), (50, 2.0), (99, 4.0), (100, 4.0)])
def test_percentiles_are_by_nearest_rank(percent, value):
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == value
