"""The pages, section by section."""

from typing import Final

from flashstock.console.pages import overview, pools, signing

ROUTES: Final = (*signing.ROUTES, *overview.ROUTES, *pools.ROUTES)
