"""What the API is given to work with for campaigns; ``bootstrap_stock`` fills it in."""

from __future__ import annotations

from dataclasses import dataclass

from flashstock.campaigns.balances import PresaleBalances
from flashstock.campaigns.bundles import Bundles
from flashstock.campaigns.course import CampaignCourse
from flashstock.campaigns.gifts import GiftViews
from flashstock.campaigns.life import CampaignLife
from flashstock.campaigns.views import CampaignViews
from flashstock.stockbook.pool_flights import PoolFlights


@dataclass(frozen=True)
class CampaignServices:
    """Campaigns, from the draft to the end."""

    life: CampaignLife
    course: CampaignCourse
    views: CampaignViews
    bundles: Bundles
    gifts: GiftViews
    balances: PresaleBalances
    flights: PoolFlights
