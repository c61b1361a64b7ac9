"""What a rebuild from SQL costs by itself: ``python -m bench.rebuild --reservations 1000000``.

The rows are put into SQL directly, in the order in which a sale would have left them; then Redis
is rebuilt from them by a process of its own, whose peak of memory is taken. To compare two
versions, let each rebuild the same stores by turns: ``--source`` names another checkout, whose
rebuild takes turns with this one's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench.processes import cpu_seconds
from bench.stores import Valkey, postgres, valkey

POOL: Final = "bench"
SHARED_BY: Final = 64
"""Reservations of one log entry."""
HOLD_MS: Final = 3_600_000
_COLUMNS: Final = (
    *("id", "shard", "pool", "buyer", "quantity", "cart", "state", "deadline_ms"),
    *("created_at_ms", "updated_at_ms", "generation", "seq", "payment_ref", "order_index"),
    *("order_no", "returned"),
)
_POOL_ROW: Final = (
    "INSERT INTO pools (id, shard, sku, state, total, held, sold, locked, per_buyer_limit, hold_ms,"
    " starts_at_ms, ends_at_ms, durability, waves, created_at_ms, updated_at_ms)"
    f" VALUES ('{POOL}', 0, 'sku', 'open', 100000000, {{held}}, {{sold}}, 0, 2, {HOLD_MS}, 0, 0,"
    " 'ledger', '', {now}, {now})"
)
_CURSOR_ROW: Final = (
    "INSERT INTO cursors (shard, generation, seq, log_id, opened_generation, recovery_until_ms,"
    " updated_at_ms) VALUES (0, 1, {seq}, '0-0', 1, 0, {now})"
)


def rows(count: int, sold: int, now_ms: int) -> Iterator[tuple[Any, ...]]:
    """So many reservations, the first of them sold."""
    from flashstock.model.ids import digest_of

    for number in range(count):
        digest = digest_of("reservation", "shop", f"key-{number}")
        seq = number - number % SHARED_BY + 1
        deadline_ms = now_ms + HOLD_MS + seq // 100
        held: tuple[Any, ...] = (f"{POOL}~{digest}", 0, POOL, f"buyer-{number}", 1, "")
        times = (deadline_ms, now_ms, now_ms, 1, seq)
        if number < sold:
            payment = (f"payment-{number}", number + 1, f"FS-{number}", 0)
            yield (*held, "confirmed", *times, *payment)
        else:
            yield (*held, "held", *times, None, 0, None, 0)


def fill_sqlite(path: Path, filled: Iterable[tuple[Any, ...]], others: Iterable[str]) -> None:
    places = ", ".join("?" * len(_COLUMNS))
    with sqlite3.connect(path) as connection:
        connection.executemany(
            f"INSERT INTO reservations ({', '.join(_COLUMNS)}) VALUES ({places})", filled
        )
        for statement in others:
            connection.execute(statement)
    connection.close()


async def fill_postgres(url: str, filled: Iterable[tuple[Any, ...]], others: Iterable[str]) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.copy_records_to_table("reservations", records=filled, columns=_COLUMNS)
        for statement in others:
            await connection.execute(statement)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


def filled(url: str, count: int, sold: int) -> None:
    """The tables, and in them what a rebuild has to restore."""
    from flashstock.ledger.migrate import upgrade

    asyncio.run(upgrade(url))
    now_ms = time.time_ns() // 1_000_000
    others = (
        _POOL_ROW.format(held=count - sold, sold=sold, now=now_ms),
        _CURSOR_ROW.format(seq=count + sold, now=now_ms),
    )
    if url.startswith("sqlite"):
        fill_sqlite(Path(url.removeprefix("sqlite:///")), rows(count, sold, now_ms), others)
    else:
        asyncio.run(fill_postgres(url, rows(count, sold, now_ms), others))


def rebuilt(source: Path, store: Valkey, url: str, directory: Path) -> dict[str, float]:
    """One ``flashstock rebuild --apply`` of a checkout: seconds, CPU and memory of its process."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FLASHSTOCK_")},
        "PYTHONPATH": str(source / "src"),
        "FLASHSTOCK_REDIS_URL": store.url,
        "FLASHSTOCK_DATABASE_URL": url,
        "FLASHSTOCK_LOG_LEVEL": "warning",
    }
    said = directory / "rebuild.log"
    before = cpu_seconds(store.child.pid)
    with said.open("wb") as log:
        started_at = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "flashstock", "rebuild", "--apply"],
            env=environment,
            stdout=log,
            stderr=log,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started_at
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"a rebuild ended with {process.returncode}: {said.read_text()}")
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "valkey_cpu_seconds": cpu_seconds(store.child.pid) - before,
        "peak_mb": usage.ru_maxrss / 1e3,
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.rebuild", description=__doc__)
    parser.add_argument("--reservations", type=int, default=1_000_000)
    parser.add_argument("--sold", type=int, default=0, help="so many of them are confirmed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--databases", default="sqlite,postgres")
    parser.add_argument("--source", type=Path, help="another checkout, rebuilding by turns")
    return parser.parse_args(arguments)


def main() -> int:
    given = parse(sys.argv[1:])
    sources = {"here": Path(__file__).resolve().parents[1]}
    if given.source is not None:
        sources["other"] = given.source.resolve()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rebuild-")))
        urls: dict[str, str] = {}
        for name in given.databases.split(","):
            if name == "sqlite":
                urls[name] = f"sqlite:///{directory}/ledger.db"
            else:
                server = stack.enter_context(postgres(8))
                urls[name] = server.url(stack.enter_context(server.fresh_database("rebuild")))
        for url in urls.values():
            filled(url, given.reservations, given.sold)
        for name, url in urls.items():
            for number in range(given.rounds):
                turns = list(sources) if number % 2 == 0 else list(reversed(sources))
                for turn in turns:
                    with valkey(directory) as store:
                        took = rebuilt(sources[turn], store, url, directory)
                        took["restored"] = restored(store)
                    if took["restored"] != given.reservations:
                        raise RuntimeError(f"{took} is not what there was")
                    print(json.dumps({"database": name, "source": turn, **took}), flush=True)
    return 0


def restored(store: Valkey) -> int:
    from flashstock.hotpath import keys

    with store.connect() as client:
        return int(client.hlen(keys.reservations(0)))


if __name__ == "__main__":
    sys.exit(main())
