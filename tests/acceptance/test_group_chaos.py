"""Group-buys under fire, briefly; ``make chaos-groups`` is the long one."""

from __future__ import annotations

import logging

import pytest

from tests.chaos.groups import GroupCampaign
from tests.chaos.site import running_site

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]

BRIEF = ("worker-killed", "writer-killed", "valkey-killed", "valkey-tail-cut", "store-reply-lost")


async def test_every_group_ends_once_and_every_unit_is_accounted_for_whatever_dies():
    async with running_site("sqlite") as site:
        campaign = GroupCampaign(site, seed=3, say=logging.info, only=BRIEF)
        outcome = await campaign.run(60, rounds=1, requests=300, faults=4)
        assert outcome.violations == [], site.complaints()
    assert sum(outcome.fired.values()) >= 1
    assert outcome.formed
    assert outcome.failed
    assert outcome.refunded
