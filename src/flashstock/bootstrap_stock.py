"""The composition root of what stands on the stock book: it names concrete classes, wires them,
and is called by ``bootstrap`` alone.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.api.stock_services import StockServices


def build_stock_services(engine: AsyncEngine, clock: Callable[[], int]) -> StockServices:
    """Everything one API process does with the stock book."""
    return StockServices(engine=engine, clock=clock)
