"""The composition root of what stands on the stock book: it names concrete classes, wires them,
and is called by ``bootstrap`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.api.campaign_services import CampaignServices
from flashstock.api.dispatch_services import ChannelServices, DispatchServices
from flashstock.api.notice_services import NoticeServices
from flashstock.api.stock_services import BookServices, StockServices
from flashstock.campaigns.balances import PresaleBalances
from flashstock.campaigns.bundles import Bundles
from flashstock.campaigns.closing import CampaignClosing
from flashstock.campaigns.course import CampaignCourse
from flashstock.campaigns.gifts import GiftGiver, GiftViews
from flashstock.campaigns.life import CampaignLife
from flashstock.campaigns.prices import (
    amounts_of_balances,
    amounts_of_orders,
    exported_items,
    pools_of,
)
from flashstock.campaigns.terms import Item, Terms
from flashstock.campaigns.views import CampaignViews
from flashstock.channels.marks import EVERYTHING, mark
from flashstock.channels.outside_orders import OutsideOrders
from flashstock.channels.policies import Policies
from flashstock.channels.publication import Publication
from flashstock.channels.registry import Channels, locations_of
from flashstock.dispatch.order_book import OrderBook
from flashstock.dispatch.return_rows import in_flight as returns_in_flight
from flashstock.dispatch.returns import HotReturns, Returns
from flashstock.dispatch.shipping import Shipping
from flashstock.dispatch.sourcing import plan
from flashstock.errors import Unavailable
from flashstock.hotpath.replies import ReservationReply
from flashstock.hotpath.store import HotStore
from flashstock.imports.campaign_rows import CampaignRows
from flashstock.imports.exports import Exports
from flashstock.imports.service import Imports
from flashstock.notices.courier import Courier
from flashstock.notices.group_news import GroupNews
from flashstock.notices.hints import Hints
from flashstock.notices.sender import HttpSender
from flashstock.notices.warnings import Warnings
from flashstock.notices.watcher import Watcher
from flashstock.notices.webhooks import Webhooks
from flashstock.payments.cases import Cases
from flashstock.payments.known import Known
from flashstock.payments.reconciliation import Reconciliation
from flashstock.statistics.folder import Folder
from flashstock.statistics.queries import Statistics
from flashstock.statistics.refusals import RefusalRecorder
from flashstock.stockbook.balances import Balances
from flashstock.stockbook.catalogue import Catalogue
from flashstock.stockbook.identity import Identity
from flashstock.stockbook.lots import Lots
from flashstock.stockbook.movements import Movements
from flashstock.stockbook.pool_flights import PoolFlights
from flashstock.stockbook.pool_relay import PoolRelay
from flashstock.stockbook.purchases import Purchases
from flashstock.stockbook.stocktakes import Stocktakes
from flashstock.stockbook.transfers import Transfers

Background = Callable[[], Coroutine[Any, Any, None]]
TakeRefusals = Callable[[], Mapping[tuple[str, str], int]]
MARKED_MAX: Final = 500
"""SKUs that shops are told of one by one."""


def build_stock_services(
    engine: AsyncEngine,
    clock: Callable[[], int],
    shard_of: Callable[[str], int],
    take_refusals: TakeRefusals = dict,
    *,
    private_webhooks: bool = False,
    hot: HotReturns | None = None,
) -> StockServices:
    """Everything one API process does with the stock book.

    Args:
        clock: ms since the epoch.
        shard_of: the shard a pool lives in.
        take_refusals: what this process has refused since it was asked before.
        private_webhooks: whether webhooks may go to private addresses.
        hot: takes sales back; without it orders can't be returned.
    """
    flights = PoolFlights(engine, shard_of, clock, returns_in_flight)
    return StockServices(
        engine=engine,
        clock=clock,
        book=build_book(engine, clock, flights),
        notices=build_notices(engine, clock, take_refusals, private_webhooks=private_webhooks),
        channels=build_channels(engine, clock),
        dispatch=build_dispatch(engine, clock, hot or NoPools()),
        campaigns=build_campaigns(engine, clock, flights),
    )


def build_book(engine: AsyncEngine, clock: Callable[[], int], flights: PoolFlights) -> BookServices:
    """The stock book itself."""
    return BookServices(
        catalogue=Catalogue(engine, clock, on_safety_stock=mark),
        balances=Balances(engine, clock),
        movements=Movements(engine, clock),
        purchases=Purchases(engine, clock),
        transfers=Transfers(engine, clock),
        stocktakes=Stocktakes(engine, clock),
        lots=Lots(engine, clock),
        identity=Identity(engine, flights, clock),
    )


async def stock_book_report(
    engine: AsyncEngine, clock: Callable[[], int], shard_of: Callable[[str], int]
) -> dict[str, Any]:
    """Whether the stock book is right, for the report of a reconciliation."""
    flights = PoolFlights(engine, shard_of, clock, returns_in_flight)
    proof = await Identity(engine, flights, clock).prove()
    return {
        "ok": proof.ok,
        **proof.invariants,
        "differences_count": proof.differences_count,
        "differences": [asdict(one) for one in proof.differences],
    }


def build_campaigns(
    engine: AsyncEngine, clock: Callable[[], int], flights: PoolFlights
) -> CampaignServices:
    """Campaigns, from the draft to the end."""
    views = CampaignViews(engine, clock)
    return CampaignServices(
        life=CampaignLife(engine, clock),
        course=CampaignCourse(engine, clock),
        views=views,
        bundles=Bundles(engine, clock),
        gifts=GiftViews(engine),
        balances=PresaleBalances(engine, views, clock),
        flights=flights,
    )


def campaigns_beside_the_writer(
    engine: AsyncEngine, clock: Callable[[], int], store: HotStore
) -> list[Background]:
    """What carries units between the book and the pools, ends campaigns and gives gifts."""
    return [
        PoolRelay(engine, store, clock).run,
        CampaignClosing(engine, clock).run,
        GiftGiver(engine, store, clock).run,
    ]


def build_channels(engine: AsyncEngine, clock: Callable[[], int]) -> ChannelServices:
    """Many shops that sell one stock."""
    return ChannelServices(
        channels=Channels(engine, clock),
        policies=Policies(engine, clock),
        publication=Publication(engine),
        orders=OutsideOrders(engine, clock, plan),
    )


def build_dispatch(
    engine: AsyncEngine, clock: Callable[[], int], hot: HotReturns
) -> DispatchServices:
    """Orders, on their way out and back."""
    return DispatchServices(
        orders=OrderBook(engine, clock),
        shipping=Shipping(engine, clock, locations_of),
        returns=Returns(engine, clock, hot),
    )


class NoPools:
    """Where a process has no hot path, nothing can be taken back."""

    async def return_sale(self, *_: Any, **__: Any) -> ReservationReply:
        """Raises ``Unavailable``; whoever has a hot path goes on with the return."""
        raise Unavailable("no pool can be reached from here")


def returns_beside_the_writer(
    engine: AsyncEngine, clock: Callable[[], int], hot: HotReturns
) -> Background:
    """What finishes returns that a crash has left."""
    return Returns(engine, clock, hot).run


def build_notices(
    engine: AsyncEngine,
    clock: Callable[[], int],
    take_refusals: TakeRefusals,
    *,
    private_webhooks: bool,
) -> NoticeServices:
    """Webhooks, warnings, hints and statistics; files; payments."""
    statistics = Statistics(engine)
    return NoticeServices(
        webhooks=Webhooks(engine, clock, private_allowed=private_webhooks),
        warnings=Warnings(engine),
        hints=Hints(engine, clock, statistics.sold_by_pool),
        statistics=statistics,
        refusals=RefusalRecorder(engine, take_refusals, clock),
        campaign_pools=partial(pools_of, engine),
        imports=Imports(
            engine, clock, partial(draft_imported, CampaignLife(engine, clock)), marked
        ),
        exports=Exports(engine, exported_items),
        reconciliation=Reconciliation(engine, clock, Known(amounts_of_orders, amounts_of_balances)),
        cases=Cases(engine, clock),
    )


async def marked(connection: AsyncConnection, skus: Sequence[str], at_ms: int) -> None:
    """Have shops look again at these SKUs, or at all where they are many."""
    await mark(connection, skus if len(skus) <= MARKED_MAX else [EVERYTHING], at_ms)


async def draft_imported(
    life: CampaignLife, connection: AsyncConnection, rows: CampaignRows, actor: str, key: str
) -> str:
    """A campaign of a file as a draft, in the import's transaction."""
    items = tuple(
        Item(number, row.sku, row.quantity, row.price_minor, row.currency, row.title)
        for number, row in enumerate(rows.items, start=1)
    )
    terms = Terms(
        rows.name,
        rows.starts_at_ms,
        rows.ends_at_ms,
        items,
        per_buyer_limit=rows.per_buyer_limit,
        hold_ms=rows.hold_ms,
    )
    code, _ = await life.draft_within(connection, terms, actor, key)
    return code


def notices_beside_the_writer(
    engine: AsyncEngine, clock: Callable[[], int], owner: str, *, private_webhooks: bool
) -> list[Background]:
    """What tells, watches and counts, until it is cancelled.

    Args:
        owner: a name that no other process has.
    """
    courier = Courier(engine, HttpSender(private_allowed=private_webhooks), owner, clock)
    news = GroupNews(engine)
    return [courier.run, news.run, Watcher(engine, clock).run, Folder(engine).run]
