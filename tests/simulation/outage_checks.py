"""What an outage takes from buyers, and that they get it back: no less, and no more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from flashstock.model import events
from flashstock.model.group_records import SEAT_MARK
from flashstock.model.rules import NO_DEADLINE_MS
from flashstock.model.states import ReservationState
from flashstock.recovery.outage import OUTAGE_MIN_MS

NOT_GIVEN_BACK_MS: Final = OUTAGE_MIN_MS + 20_000
"""What no outage is worth, and what a recovery may take that is hit itself."""


@dataclass(frozen=True)
class Outage:
    """From the last script that ran in a shard to the first under a later generation."""

    began_ms: int
    ended_ms: int


class Lives:
    """When the shards were seen to work, by the clocks of their servers."""

    def __init__(self) -> None:
        self.outages: dict[int, list[Outage]] = defaultdict(list)
        self._seen: dict[int, tuple[int, int]] = {}

    def seen(self, shard: int, generation: int, at_ms: int) -> None:
        """A script ran, in a data set that is open."""
        known, last_ms = self._seen.get(shard, (generation, at_ms))
        if generation > known:
            self.outages[shard].append(Outage(last_ms, at_ms))
        self._seen[shard] = (generation, at_ms)


@dataclass
class _Term:
    """A hold: ``until_ms`` as it was told last and ``given_ms`` of it, ``earliest_ms`` as it must
    be after the outages that the world saw, ``latest_ms`` as the journal says.
    """

    given_ms: int
    until_ms: int

    def __post_init__(self) -> None:
        self.earliest_ms = self.latest_ms = self.until_ms

    @property
    def length_ms(self) -> int:
        return self.until_ms - self.given_ms


def check_outages(
    read: Iterable[tuple[events.LogEntry, events.Event]],
    outages: Sequence[Outage],
    violated: Callable[[str], None],
) -> None:
    """Who had time left when a long outage began has it afterwards, and it does not expire before;
    and no outage leaves anyone with more time than they were ever given.
    """
    holds: dict[str, _Term] = {}
    to_come = list(outages)
    for _, event in read:
        if isinstance(event, events.Postponed):
            # Perhaps by the clock of another server than that on which the outage ended.
            _postpone(holds, event, violated)
            continue
        while to_come and to_come[0].ended_ms <= event.at_ms:
            _pass(holds, to_come.pop(0), violated)
        if isinstance(event, events.Held) and event.state is ReservationState.HELD:
            for hold in event.holds:
                if not hold.cart.startswith(SEAT_MARK) and event.deadline_ms < NO_DEADLINE_MS:
                    holds[f"{event.pool}~{hold.digest}"] = _Term(event.at_ms, event.deadline_ms)
        elif isinstance(event, events.Extended) and f"{event.pool}~{event.digest}" in holds:
            holds[f"{event.pool}~{event.digest}"] = _Term(event.at_ms, event.deadline_ms)
        elif isinstance(event, events.Confirmed):
            holds.pop(f"{event.pool}~{event.digest}", None)
        elif isinstance(event, events.Released):
            for part in event.releases:
                term = holds.pop(f"{event.pool}~{part.digest}", None)
                early = term is not None and event.at_ms < term.earliest_ms
                if early and event.state is ReservationState.EXPIRED:
                    violated(f"{part.digest} expired at {event.at_ms}: an outage took its {term}")


def _pass(holds: dict[str, _Term], outage: Outage, violated: Callable[[str], None]) -> None:
    given_back_ms = outage.ended_ms - outage.began_ms - NOT_GIVEN_BACK_MS
    for reservation_id, term in holds.items():
        # What was given meanwhile shows that it was over by then, if not yet under the newest
        # generation: the outage took nothing from it.
        interrupted = term.given_ms <= outage.began_ms < term.earliest_ms
        if given_back_ms > 0 and interrupted:
            term.earliest_ms += given_back_ms
            if term.latest_ms < term.earliest_ms:
                violated(f"{reservation_id} got nothing back of {outage}: {term}")


def _postpone(
    holds: dict[str, _Term], event: events.Postponed, violated: Callable[[str], None]
) -> None:
    for reservation_id, term in holds.items():
        if reservation_id.startswith(f"{event.pool}~") and term.latest_ms > event.began_ms:
            term.latest_ms += event.by_ms
            if term.latest_ms - event.at_ms > term.length_ms:
                violated(f"{reservation_id} has more time left than it was given: {term}, {event}")
