"""A short fault campaign on real processes; ``make chaos`` is the long one."""

from __future__ import annotations

import logging

import pytest

from tests.chaos.campaign import Campaign
from tests.chaos.faults_between import KINDS
from tests.chaos.site import running_site

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]

BRIEF = (
    "worker-killed",
    "writer-killed",
    "valkey-killed",
    "valkey-tail-cut",
    "sql-locked",
    "store-reply-lost",
    "client-reply-torn",
    "flushall",
    "script-flush",
    "out-of-memory",
)


async def test_nothing_is_lost_or_oversold_whatever_happens():
    kinds = [kind for kind in KINDS if kind.name in BRIEF]
    async with running_site("sqlite") as site:
        outcome = await Campaign(site, kinds, seed=1, say=logging.info).run(len(kinds), 240)
        assert outcome.violations == [], site.complaints()
    assert len({fault.kind.name for fault in outcome.fired}) >= 8
    assert any(order.paid for order in outcome.orders)
