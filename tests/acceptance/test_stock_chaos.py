"""The stock book under fire, briefly; ``make chaos-stock`` is the long one."""

from __future__ import annotations

import logging

import pytest

from tests.chaos.site import running_site
from tests.chaos.stock import StockCampaign

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]

BRIEF = ("worker-killed", "writer-killed", "valkey-killed", "valkey-tail-cut")


async def test_every_unit_is_where_the_answers_say_whatever_dies():
    async with running_site("sqlite") as site:
        campaign = StockCampaign(site, seed=3, say=logging.info, only=BRIEF)
        outcome = await campaign.run(6, faults_wanted=3, changes_wanted=40)
        tally = outcome.tally
        assert tally.violations == [], site.complaints()
    assert outcome.rounds == 1
    assert sum(outcome.fired.values()) >= 2
    assert tally.done.total() > 30
    assert tally.proofs
