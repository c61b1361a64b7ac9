"""The composition root of what stands on the stock book: it names concrete classes, wires them,
and is called by ``bootstrap`` alone.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.api.stock_services import BookServices, StockServices
from flashstock.stockbook.balances import Balances
from flashstock.stockbook.catalogue import Catalogue
from flashstock.stockbook.identity import Identity
from flashstock.stockbook.lots import Lots
from flashstock.stockbook.movements import Movements
from flashstock.stockbook.pool_flights import PoolFlights
from flashstock.stockbook.purchases import Purchases
from flashstock.stockbook.stocktakes import Stocktakes
from flashstock.stockbook.transfers import Transfers


def build_stock_services(
    engine: AsyncEngine, clock: Callable[[], int], shard_of: Callable[[str], int]
) -> StockServices:
    """Everything one API process does with the stock book.

    Args:
        clock: ms since the epoch.
        shard_of: the shard a pool lives in.
    """
    flights = PoolFlights(engine, shard_of, clock)
    return StockServices(engine=engine, clock=clock, book=build_book(engine, clock, flights))


def build_book(engine: AsyncEngine, clock: Callable[[], int], flights: PoolFlights) -> BookServices:
    """The stock book itself."""
    return BookServices(
        catalogue=Catalogue(engine, clock),
        balances=Balances(engine, clock),
        movements=Movements(engine, clock),
        purchases=Purchases(engine, clock),
        transfers=Transfers(engine, clock),
        stocktakes=Stocktakes(engine, clock),
        lots=Lots(engine, clock),
        identity=Identity(engine, flights, clock),
    )
