"""The stock book: where units are, how they came there, and the proof that they add up."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from flashstock.api.bodies_stock import identity_body, stock_body
from flashstock.api.stock_routing import known_sku
from flashstock.console.routing import Asked, page
from flashstock.model.stock import MovementKind, StockState
from flashstock.stockbook.movement_queries import MovementFilter

PAGE_ROWS: Final = 50
STATES: Final = (
    StockState.AVAILABLE,
    StockState.CAMPAIGN,
    StockState.COMMITTED,
    StockState.LOCKED,
    StockState.UNSELLABLE,
    StockState.RESERVED,
    StockState.BOUGHT_OUT,
    StockState.OUTGOING,
    StockState.IN_TRANSIT,
    StockState.VIRTUAL,
)
"""The columns of the balances, those that matter most first."""


async def stock(asked: Asked) -> Response:
    """Balances by SKU and location."""
    location, after = asked.wanted("location"), asked.wanted("after")
    sku, _, last_location = after.rpartition("/")
    balances = asked.stock.book.balances
    rows = await balances.page((sku, last_location), PAGE_ROWS, location or None)
    last = rows[-1] if len(rows) == PAGE_ROWS else None
    return asked.render(
        "stock.html",
        rows=rows,
        states=[state.value for state in STATES],
        location=location,
        after=after,
        next_after=f"{last.sku}/{last.location}" if last else None,
    )


async def one_sku(asked: Asked) -> Response:
    """One SKU at every location, in the whole company, and in pools."""
    sku = known_sku(asked.named("sku"))
    found = await asked.stock.book.balances.of_sku(sku)
    return asked.render(
        "sku.html", stock=stock_body(found), states=[state.value for state in STATES]
    )


async def movements(asked: Asked) -> Response:
    """The newest first."""
    sku, location, kind = asked.wanted("sku"), asked.wanted("location"), asked.wanted("kind")
    after = asked.wanted_number("after")
    which = MovementFilter(
        sku or None,
        location or None,
        MovementKind(kind) if kind in set(MovementKind) else None,
        asked.wanted("reference") or None,
    )
    rows = await asked.stock.book.balances.movements(which, after, PAGE_ROWS, newest=True)
    return asked.render(
        "movements.html",
        rows=rows,
        wanted={
            "sku": sku,
            "location": location,
            "kind": kind,
            "reference": asked.wanted("reference"),
        },
        kinds=[one.value for one in MovementKind],
        next_after=rows[-1].number if len(rows) == PAGE_ROWS else None,
    )


async def identities(asked: Asked) -> Response:
    """The proof, as of this moment."""
    deep = asked.wanted("deep") == "yes"
    document = identity_body(await asked.stock.book.identity.prove(deep=deep))
    asked.services.stock_watch.found(document)
    return asked.render("identities.html", proof=document, states=[state.value for state in STATES])


ROUTES = (
    page("/stock", stock),
    page("/stock/{sku}", one_sku),
    page("/movements", movements),
    page("/identities", identities),
)
