"""Negative controls: what the scripts decide for campaigns, decided wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from flashstock.hotpath import keys
from tests.simulation.controls import CONTROLS, control, script_text
from tests.simulation.processes import Parts

__all__ = ["CONTROLS"]


@control
def audience_ignored() -> Any:
    """Whoever asks is let in, whatever is attested."""
    wanted = "elseif lets_in and not lets_in(attested[index] or '') then"
    return script_text("reserve", wanted, "elseif false then")


@control
def payment_mode_that_holds() -> Any:
    """Units are taken before they are paid."""
    return script_text("reserve", "takes_units = rules[3] ~= 'payment'", "takes_units = true")


@control
def group_limit_counted_per_pool() -> Any:
    """Each pool of a group allows the buyer its limit anew."""

    @contextmanager
    def patched() -> Iterator[Parts]:
        with mock.patch.object(keys, "limit_scope", lambda pool_id: pool_id):
            yield Parts()

    return patched()


@control
def return_that_restocks() -> Any:
    """Units that should leave the pool can be sold again."""
    wanted = "restock and 'available' or 'total', restock and quantity or -quantity"
    return script_text("return_sale", wanted, "'available', quantity")


@control
def endless_hold_that_expires() -> Any:
    """A hold that only somebody ends gets a deadline."""
    return script_text("reserve", "rules[3] == 'order' and NO_DEADLINE_MS or", "")
