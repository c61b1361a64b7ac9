"""The pages, section by section."""

from typing import Final

from flashstock.console.pages import (
    campaigns,
    groups,
    overview,
    pools,
    proof,
    reservations,
    service,
    signing,
    stock,
)

ROUTES: Final = (
    *signing.ROUTES,
    *overview.ROUTES,
    *pools.ROUTES,
    *campaigns.ROUTES,
    *groups.ROUTES,
    *reservations.ROUTES,
    *stock.ROUTES,
    *proof.ROUTES,
    *service.ROUTES,
)
