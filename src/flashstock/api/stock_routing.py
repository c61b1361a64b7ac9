"""What the routes of the stock book have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from fastapi import Depends, Path

from flashstock.api.auth import Principal
from flashstock.api.bodies_stock import page_body
from flashstock.api.routing import ServicesOf
from flashstock.api.stock_services import BookServices
from flashstock.errors import UnknownLocation, UnknownPath, UnknownSku
from flashstock.model.ids import digest_of
from flashstock.model.stock import LOCATION_PATTERN, SKU_PATTERN
from flashstock.stockbook.asked import Asked

_SKU: Final = re.compile(SKU_PATTERN.removesuffix("$") + r"\Z")
_LOCATION: Final = re.compile(LOCATION_PATTERN.removesuffix("$") + r"\Z")

DocumentId = Annotated[int, Path(ge=1, le=2**53, examples=[17])]


def book_of(services: ServicesOf) -> BookServices:
    """The stock book of this process."""
    if services.stock is None:
        raise UnknownPath
    return services.stock.book


def known_sku(
    sku: Annotated[
        str,
        Path(examples=["85123A"], json_schema_extra={"pattern": SKU_PATTERN}),
    ],
) -> str:
    """Text that can't be a SKU names none: nobody needs to be asked."""
    if _SKU.fullmatch(sku) is None:
        raise UnknownSku(f"{sku[:130]!r} is not a SKU", sku=sku[:130])
    return sku


def known_location(
    location: Annotated[
        str,
        Path(examples=["east"], json_schema_extra={"pattern": LOCATION_PATTERN}),
    ],
) -> str:
    """Text that can't be a location's code names none."""
    if _LOCATION.fullmatch(location) is None:
        raise UnknownLocation(f"{location[:100]!r} is not a location", location=location[:100])
    return location


BookOf = Annotated[BookServices, Depends(book_of)]
SkuOf = Annotated[str, Depends(known_sku)]
LocationOf = Annotated[str, Depends(known_location)]


def asked(what: str, principal: Principal, key: str) -> Asked:
    """The command that an idempotency key of this caller stands for."""
    return Asked(digest_of(what, principal.name, key), principal.name)


def numbered_page(
    rows: Sequence[Any], limit: int, body: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """A page of rows that have ids."""
    next_after = rows[-1].id if len(rows) == limit else None
    return page_body([body(row) for row in rows], next_after)
