"""How the stock book answers when it is full: ``python -m bench.book``.

A book of many SKUs and movements is put into SQL directly, in the order in which trading would
have left it; then the proof, the pages and a posting are timed through the same code that serves
them. The deep proof at the end says that what was put there is a book.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.driver import percentile
from bench.stores import postgres
from flashstock.api.stock_services import BookServices
from flashstock.bootstrap_stock import build_book
from flashstock.channels.publication import Publication
from flashstock.channels.registry import Channel, Channels
from flashstock.channels.shares import ChannelMode
from flashstock.ledger.engine import create_engine
from flashstock.ledger.migrate import upgrade
from flashstock.model.stock import MovementKind, Posting, StockState, balance_deltas
from flashstock.stockbook.asked import Asked
from flashstock.stockbook.movement_queries import MovementFilter
from flashstock.stockbook.movements import Line
from flashstock.stockbook.pool_flights import PoolFlights
from flashstock.stockbook.tables import BALANCE_COLUMNS

LOCATIONS: Final = ("berlin", "hamburg", "lyon", "madrid", "oslo")
NOW_MS: Final = 1_795_311_438_974
HALF_WAY_PAGES: Final = 50
S, K = StockState, MovementKind
TRADE: Final = (
    (K.RECEIVE, S.SUPPLIER, S.AVAILABLE, 100),
    (K.COMMIT, S.AVAILABLE, S.COMMITTED, 5),
    (K.SHIP, S.COMMITTED, S.CUSTOMER, 5),
    (K.LOCK, S.AVAILABLE, S.LOCKED, 30),
    (K.COMMIT, S.AVAILABLE, S.COMMITTED, 7),
    (K.UNLOCK, S.LOCKED, S.AVAILABLE, 10),
    (K.SHIP, S.COMMITTED, S.CUSTOMER, 6),
    (K.RETURN, S.CUSTOMER, S.UNSELLABLE, 1),
    (K.WRITE_OFF, S.UNSELLABLE, S.STOCKTAKE, 1),
    (K.SOLD_ELSEWHERE, S.AVAILABLE, S.ELSEWHERE, 2),
)
"""What happens to a SKU, again and again: it ends with more than it began with."""

Rows = Iterable[tuple[Any, ...]]


@dataclass(frozen=True)
class Book:
    """How large the book is. Every movement is of one SKU, in turn."""

    skus: int
    movements: int

    def cell(self, number: int) -> tuple[str, str]:
        """The SKU and the location of a movement."""
        at = number % self.skus
        return f"SKU-{at:07d}", LOCATIONS[at % len(LOCATIONS)]

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], Rows]]:
        """Every table's rows, in the order of their keys."""
        times = (NOW_MS, NOW_MS)
        locations = ((code, code, "warehouse", 100, *times) for code in LOCATIONS)
        columns: tuple[str, ...] = ("code", "name", "kind", "priority")
        yield "locations", (*columns, "created_at_ms", "updated_at_ms"), locations
        skus = ((self.cell(n)[0], *times) for n in range(self.skus))
        yield "skus", ("sku", "created_at_ms", "updated_at_ms"), skus
        columns = ("number", "id", "payload_digest", "kind", "reason", "reference", "actor")
        yield "stock_commands", (*columns, "at_ms"), self._commands()
        columns = ("number", "command", "sku", "location", "source", "target", "quantity")
        yield "stock_movements", columns, self._postings()
        columns = ("sku", "location", *BALANCE_COLUMNS, "changed_seq")
        yield "stock_balances", columns, self._balances()
        yield "stock_flows", ("location", "source", "target", "quantity"), self._flows()

    def _step(self, number: int) -> tuple[MovementKind, StockState, StockState, int]:
        return TRADE[number // self.skus % len(TRADE)]

    def _commands(self) -> Rows:
        for n in range(self.movements):
            kind = self._step(n)[0].value
            yield n + 1, f"movement:{n}", "", kind, "bench", f"order {n // 3}", "bench", NOW_MS + n

    def _postings(self) -> Rows:
        for n in range(self.movements):
            _, source, target, quantity = self._step(n)
            yield n + 1, n + 1, *self.cell(n), source.value, target.value, quantity

    def _balances(self) -> Rows:
        for at in range(self.skus):
            units = dict.fromkeys(BALANCE_COLUMNS, 0)
            last = 0
            for n in range(at, self.movements, self.skus):
                _, source, target, quantity = self._step(n)
                for name, delta in balance_deltas(
                    Posting("", "", source, target, quantity)
                ).items():
                    units[name] += delta
                last = n + 1
            yield *self.cell(at), *units.values(), last

    def _flows(self) -> Rows:
        flows: dict[tuple[str, str, str], int] = {}
        for n in range(self.movements):
            _, source, target, quantity = self._step(n)
            key = (self.cell(n)[1], source.value, target.value)
            flows[key] = flows.get(key, 0) + quantity
        for key, quantity in flows.items():
            yield *key, quantity


def fill_sqlite(path: Path, book: Book) -> None:
    with sqlite3.connect(path) as connection:
        for table, columns, rows in book.tables():
            places = ", ".join("?" * len(columns))
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
            connection.executemany(statement, rows)
        connection.execute("ANALYZE")
    connection.close()


async def fill_postgres(url: str, book: Book) -> None:
    connection = await asyncpg.connect(url)
    try:
        for table, columns, rows in book.tables():
            await connection.copy_records_to_table(table, records=rows, columns=columns)
        for table in ("stock_commands", "stock_movements"):
            sequence = f"pg_get_serial_sequence('{table}', 'number')"
            await connection.execute(f"SELECT setval({sequence}, {book.movements})")
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


@dataclass(frozen=True)
class Timed:
    """What is timed, and how often."""

    name: str
    call: Callable[[], Awaitable[Any]]
    times: int


def measured(services: BookServices, book: Book, times: int) -> list[Timed]:
    """Everything that is timed, the deep proof last."""
    sku, location = book.cell(book.skus // 2)
    numbers = iter(range(10**9))
    balances, movements = services.balances, services.movements

    def page(**which: Any) -> Callable[[], Awaitable[Any]]:
        return lambda: balances.movements(MovementFilter(**which), 0, 100, newest=True)

    async def post() -> None:
        asked = Asked(f"timed-{next(numbers)}", "bench")
        await movements.post(asked, K.RECEIVE, [Line(sku, location, 1)])

    async def prove(*, deep: bool) -> None:
        report = await services.identity.prove(deep=deep)
        if not report.ok:
            raise RuntimeError(f"the book is wrong: {report.differences[:3]}")

    middle = book.movements // 2
    both = MovementFilter(location=location, kind=K.LOCK)
    never = MovementFilter(location=location, kind=K.VIRTUAL)
    return [
        Timed("identity proof", lambda: prove(deep=False), max(3, times // 10)),
        Timed("movements, newest 100", page(), times),
        Timed(
            "movements, 100 from the middle",
            lambda: balances.movements(MovementFilter(), middle, 100, newest=False),
            times,
        ),
        Timed("movements of a SKU", page(sku=sku), times),
        Timed("movements of a location", page(location=location), times),
        Timed("movements of a kind", page(kind=K.SOLD_ELSEWHERE), times),
        Timed(
            "movements of a kind at a location, long ago",
            lambda: balances.movements(both, 0, 100, newest=True),
            max(3, times // 10),
        ),
        Timed(
            "movements of a kind at a location, none",
            lambda: balances.movements(never, 0, 100, newest=True),
            max(3, times // 10),
        ),
        Timed("movements of an order", page(reference="order 7"), times),
        Timed("balances, first 100", lambda: balances.page(("", ""), 100), times),
        Timed("balances, 100 from the middle", lambda: balances.page((sku, ""), 100), times),
        Timed("balances of a location", lambda: balances.page((sku, ""), 100, location), times),
        Timed("stock of a SKU", lambda: balances.of_sku(sku), times),
        Timed("a posting", post, times),
        Timed("deep proof", lambda: prove(deep=True), max(1, times // 50)),
    ]


async def published(engine: AsyncEngine, times: int) -> list[Timed]:
    """A shop that is told everything, and one that is told what is new."""
    shop = "shop"
    await Channels(engine, lambda: NOW_MS).put(Channel(shop, shop, ChannelMode.SHARED))
    publication = Publication(engine)
    page = await publication.page(shop, "", 1_000)
    middle, pages = page.cursor, 1
    while page.more:
        page, pages = await publication.page(shop, page.cursor, 1_000), pages + 1
        middle = page.cursor if pages == HALF_WAY_PAGES else middle
    return [
        Timed("publication, first 100", lambda: publication.page(shop, "", 100), times),
        Timed("publication, 100 further on", lambda: publication.page(shop, middle, 100), times),
        Timed("publication, nothing new", lambda: publication.page(shop, page.cursor, 100), times),
    ]


async def time_all(engine: AsyncEngine, book: Book, times: int) -> dict[str, dict[str, float]]:
    """Milliseconds, by what was timed."""
    flights = PoolFlights(engine, lambda _: 0, lambda: NOW_MS)
    services = build_book(engine, lambda: NOW_MS, flights)
    taken = {}
    *reading, deep = measured(services, book, times)
    for one in (*reading, *await published(engine, times), deep):
        await one.call()
        spent = []
        for _ in range(one.times):
            started_at = time.perf_counter()
            await one.call()
            spent.append((time.perf_counter() - started_at) * 1_000)
        spent.sort()
        taken[one.name] = {
            "times": one.times,
            "p50_ms": round(percentile(spent, 50), 2),
            "p99_ms": round(percentile(spent, 99), 2),
        }
    return taken


async def run(url: str, book: Book, times: int) -> dict[str, Any]:
    """Fill an empty database and time what it answers."""
    await upgrade(url)
    started_at = time.perf_counter()
    if url.startswith("sqlite"):
        fill_sqlite(Path(url.removeprefix("sqlite:///")), book)
    else:
        await fill_postgres(url, book)
    filled_seconds = round(time.perf_counter() - started_at, 1)
    engine = create_engine(url)
    try:
        taken = await time_all(engine, book, times)
    finally:
        await engine.dispose()
    return {"filled_seconds": filled_seconds, "timed": taken}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.book", description=__doc__)
    parser.add_argument("--skus", type=int, default=100_000)
    parser.add_argument("--movements", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=200, help="calls that are timed, of each kind")
    parser.add_argument("--smoke", action="store_true", help="tiny, to see that it runs")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Measure on PostgreSQL and on SQLite, and print it."""
    options = parse(arguments)
    book = Book(options.skus, options.movements)
    times = options.times
    if options.smoke:
        book, times = Book(50, 1_000), 3
    results: dict[str, Any] = {"skus": book.skus, "movements": book.movements}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres(clients=8))
        database = stack.enter_context(server.fresh_database("book"))
        urls = {
            "postgresql": server.url(database),
            "sqlite": f"sqlite:///{directory / 'book.sqlite3'}",
        }
        for name, url in urls.items():
            results[name] = asyncio.run(run(url, book, times))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{book.skus:,} SKUs, {book.movements:,} movements; p50 / p99 in ms")
    for name in results["postgresql"]["timed"]:
        cells = [results[one]["timed"][name] for one in urls]
        print(name.ljust(44), *(f"{c['p50_ms']:>10} / {c['p99_ms']:<10}" for c in cells))


if __name__ == "__main__":
    main(sys.argv[1:])
