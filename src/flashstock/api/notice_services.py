"""What the API is given to tell others, to count, and to take in and give out files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flashstock.imports.exports import Exports
from flashstock.imports.service import Imports
from flashstock.notices.hints import Hints
from flashstock.notices.warnings import Warnings
from flashstock.notices.webhooks import Webhooks
from flashstock.payments.cases import Cases
from flashstock.payments.reconciliation import Reconciliation
from flashstock.statistics.queries import Statistics
from flashstock.statistics.refusals import RefusalRecorder

CampaignPools = Callable[[str], Awaitable[list[tuple[int, str]]]]
"""(item, pool) of each item of a campaign. Raises ``UnknownCampaign``."""


@dataclass(frozen=True)
class NoticeServices:
    """One process's services. Nothing is opened before it is used."""

    webhooks: Webhooks
    warnings: Warnings
    hints: Hints
    statistics: Statistics
    refusals: RefusalRecorder
    campaign_pools: CampaignPools
    imports: Imports
    exports: Exports
    reconciliation: Reconciliation
    cases: Cases
