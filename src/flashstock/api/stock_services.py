"""What the API is given to work with beside the hot path; ``bootstrap_stock`` fills it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flashstock.api.campaign_services import CampaignServices
from flashstock.api.dispatch_services import ChannelServices, DispatchServices
from flashstock.api.notice_services import NoticeServices
from flashstock.stockbook.balances import Balances
from flashstock.stockbook.catalogue import Catalogue
from flashstock.stockbook.identity import Identity
from flashstock.stockbook.lots import Lots
from flashstock.stockbook.movements import Movements
from flashstock.stockbook.purchases import Purchases
from flashstock.stockbook.stocktakes import Stocktakes
from flashstock.stockbook.transfers import Transfers


@dataclass(frozen=True)
class BookServices:
    """The stock book itself."""

    catalogue: Catalogue
    balances: Balances
    movements: Movements
    purchases: Purchases
    transfers: Transfers
    stocktakes: Stocktakes
    lots: Lots
    identity: Identity


@dataclass(frozen=True)
class StockServices:
    """One process's services of the stock book. Nothing is opened before it is used."""

    engine: Any
    clock: Callable[[], int]
    book: BookServices
    notices: NoticeServices
    channels: ChannelServices
    dispatch: DispatchServices
    campaigns: CampaignServices
