"""Negative controls: what scripts, writer and rebuild decide about groups, decided wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest import mock

from flashstock.hotpath.log import ShardLog
from flashstock.model.events import LogEntry
from flashstock.recovery.rebuild_groups import GroupRebuilder
from tests.simulation.controls import CONTROLS, control, include_text, parts
from tests.simulation.controls_rebuild import without_writes
from tests.simulation.processes import Parts

__all__ = ["CONTROLS", "NAMES"]
OTHERS: Final = frozenset(CONTROLS)


@control
def late_payment_overfills_a_group() -> Any:
    """A payment for a seat that has expired takes a place that another one has taken."""
    return include_text("pay_seat", "if seats_missing(group) <= 0 or seats >=", "if seats >=")


@control
def group_deadline_ignored() -> Any:
    """No group ends by itself."""
    return include_text(
        "sweep_groups", "return group.state == 'o' and group.deadline_ms <= now", "return false"
    )


@control
def failed_group_keeps_the_money() -> Any:
    """The paid seats of a group that failed are given back, and nobody is told of a refund."""
    return include_text("sweep_groups", "if #ended.refunded > 1 then", "if false then")


@control
def newcomers_rule_ignored() -> Any:
    """Anyone joins a group that is meant for new buyers."""
    return include_text("take_seats", "group.rules.newcomers and", "false and")


@control
def full_group_that_sells_twice() -> Any:
    """A group that forms takes fewer units than it sells."""
    wanted = "pool.available, pool.sold = pool.available - units, pool.sold + units"
    return include_text("pay_seat", wanted, "pool.sold = pool.sold + units")


@control
def decisions_cut_in_two() -> Any:
    """What a script decided in one step is committed in several transactions."""

    class Cutting(ShardLog):
        async def read(self, *arguments: Any, **options: Any) -> list[LogEntry]:
            entries = await super().read(*arguments, **options)
            return [replace(entry, continues=False) for entry in entries[:1]]

    return parts(log=Cutting)


@control
def rebuild_forgets_members() -> Any:
    return without_writes("ZADD", ":group-members:")


@control
def rebuild_forgets_the_ends_of_groups() -> Any:
    return without_writes("ZADD", ":group-deadlines:")


@control
def rebuild_forgets_how_many_groups_a_buyer_is_in() -> Any:
    class Forgetting(GroupRebuilder):
        async def buyers(self, pool: str) -> None:
            """Nobody is in any."""

    @contextmanager
    def patched() -> Iterator[Parts]:
        with mock.patch("flashstock.recovery.rebuild.GroupRebuilder", Forgetting):
            yield Parts()

    return patched()


NAMES: Final = frozenset(CONTROLS) - OTHERS
"""Only worlds with groups show them."""
