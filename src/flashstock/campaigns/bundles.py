"""Bundles: several SKUs that are sold as one. What a bundle is made of never changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.campaigns.tables import bundle_components, bundles
from flashstock.errors import BundleExists, InvalidRequest, UnknownBundle, UnknownSku
from flashstock.ledger.engine import reading, writing
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, lock_book
from flashstock.stockbook.tables import skus


@dataclass(frozen=True, slots=True)
class Bundle:
    """``components``: how many units of which SKU one bundle takes."""

    sku: str
    components: Mapping[str, int]
    created_at_ms: int


class Bundles:
    """The bundles of the shop. Every method raises ``LedgerUnavailable``.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock

    async def create(
        self, sku: str, components: Mapping[str, int], actor: str
    ) -> tuple[Bundle, bool]:
        """Make a bundle. Returns it, and whether it is new; repeating it changes nothing.

        Raises:
            UnknownSku: the bundle's own SKU or a component is not known.
            BundleExists: it is made of something else.
            InvalidRequest: a component is a bundle itself.
        """
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            known = await _bundles(connection, [sku])
            if known:
                if dict(known[0].components) != dict(components):
                    raise BundleExists(f"{sku!r} is made of {dict(known[0].components)}", sku=sku)
                return known[0], False
            await _check(connection, sku, components)
            at_ms = self._clock()
            row = {"sku": sku, "created_by": actor, "created_at_ms": at_ms}
            await connection.execute(insert(bundles), row)
            await connection.execute(
                insert(bundle_components),
                [
                    {"bundle": sku, "sku": component, "quantity": quantity}
                    for component, quantity in components.items()
                ],
            )
        return Bundle(sku, dict(components), at_ms), True

    async def get(self, sku: str) -> Bundle:
        """Raises ``UnknownBundle``."""
        async with reading(self._engine) as connection:
            found = await _bundles(connection, [sku])
        if not found:
            raise UnknownBundle(f"{sku!r} is no bundle", sku=sku)
        return found[0]

    async def page(self, after: str, limit: int) -> list[Bundle]:
        """Bundles by SKU."""
        statement = (
            select(bundles.c.sku).where(bundles.c.sku > after).order_by(bundles.c.sku).limit(limit)
        )
        async with reading(self._engine) as connection:
            names = list((await connection.execute(statement)).scalars())
            return await _bundles(connection, names)


async def _check(connection: AsyncConnection, sku: str, components: Mapping[str, int]) -> None:
    wanted = [sku, *components]
    found = await connection.execute(select(skus.c.sku).where(skus.c.sku.in_(wanted)))
    known = set(found.scalars())
    for name in wanted:
        if name not in known:
            raise UnknownSku(f"there is no SKU {name!r}", sku=name)
    nested = [bundle.sku for bundle in await _bundles(connection, list(components))]
    if nested or sku in components:
        raise InvalidRequest(f"a bundle is made of SKUs, not of bundles: {nested or [sku]}")
    within = await connection.execute(
        select(bundle_components.c.bundle).where(bundle_components.c.sku == sku).limit(1)
    )
    if (bundle := within.scalar()) is not None:
        raise InvalidRequest(f"{sku!r} is a component of {bundle!r}, so it can't be a bundle")


async def _bundles(connection: AsyncConnection, names: Sequence[str]) -> list[Bundle]:
    rows = await connection.execute(
        select(bundle_components, bundles.c.created_at_ms)
        .join(bundles, bundles.c.sku == bundle_components.c.bundle)
        .where(bundles.c.sku.in_(names))
        .order_by(bundles.c.sku, bundle_components.c.sku)
    )
    found: dict[str, tuple[int, dict[str, int]]] = {}
    for row in rows:
        found.setdefault(row.bundle, (row.created_at_ms, {}))[1][row.sku] = row.quantity
    return [Bundle(sku, parts, created_at_ms) for sku, (created_at_ms, parts) in found.items()]


async def needs_of(connection: AsyncConnection, wanted: Sequence[str]) -> dict[str, dict[str, int]]:
    """What one unit of each SKU takes: a bundle's components, or itself."""
    made_of = {bundle.sku: dict(bundle.components) for bundle in await _bundles(connection, wanted)}
    return {sku: made_of.get(sku, {sku: 1}) for sku in wanted}
