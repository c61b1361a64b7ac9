"""What a curve is: rows of figures against a size, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.options import Options
from bench.stores import Postgres

Row = dict[str, float | int | str | None]
"""Names end in their unit."""


@dataclass(frozen=True)
class Sizes:
    """How far each curve goes."""

    pools: tuple[int, ...] = (1, 10, 100, 1_000, 10_000)
    holds: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    groups: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000)
    """Open ones in one pool."""
    shards: tuple[int, ...] = (1, 2, 4, 8, 16)
    workers: tuple[int, ...] = (1, 2, 4)
    engine_reservations: int = 65_536
    rate: float = 2_000.0
    """Requests a second of every open-loop load, so that rows can be compared."""
    seconds: float = 6.0
    warm_up_seconds: float = 2.0
    expiring: int = 1_000
    confirmed_max: int = 100_000
    """Confirming is one call each."""
    starts: int = 5
    """As many kills, too."""
    outage_holds: int = 100_000


def up_to(sizes: Sizes, most: int | None) -> Sizes:
    """The same without what is larger; its smallest size stays in any case."""
    if most is None:
        return sizes

    def kept(all_of_them: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(size for size in all_of_them if size <= most) or all_of_them[:1]

    return replace(
        sizes,
        pools=kept(sizes.pools),
        holds=kept(sizes.holds),
        groups=kept(sizes.groups),
        outage_holds=min(sizes.outage_holds, most),
    )


QUICK: Sizes = Sizes(
    pools=(1, 10),
    holds=(500, 1_000),
    groups=(10, 100),
    shards=(1, 2),
    workers=(1, 2),
    engine_reservations=1_280,
    rate=200.0,
    seconds=1.0,
    warm_up_seconds=0.2,
    expiring=100,
    starts=1,
    outage_holds=1_000,
)
"""All code paths in little time. Its figures mean nothing."""


@dataclass(frozen=True)
class Setting:
    """What every curve is taken in."""

    options: Options
    sizes: Sizes
    directory: Path
    postgres: Postgres


@dataclass(frozen=True)
class Panel:
    """One drawing: columns of a curve's rows over one of them."""

    title: str
    x: str
    ys: tuple[str, ...]
    log_y: bool = False
    each: str = ""
    """A column whose values get a line each."""


@dataclass(frozen=True)
class Curve:
    """One series of measurements; rows come as they are taken."""

    name: str
    title: str
    take: Callable[[Setting], Iterator[Row]]
    panels: tuple[Panel, ...]
