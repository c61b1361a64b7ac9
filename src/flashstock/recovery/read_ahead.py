"""Reading the next page while the last one is being used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

Page = TypeVar("Page")


async def read_ahead(pages: AsyncGenerator[Page, None]) -> AsyncGenerator[Page, None]:
    """The same pages in the same order; one at most is read before it is wanted.

    To be closed (``contextlib.aclosing``), which stops a page that is being read and closes
    ``pages``. What goes wrong while a page is read is raised where the page is wanted.
    """
    loop = asyncio.get_running_loop()
    coming = loop.create_task(_next(pages))
    try:
        while (page := await coming) is not None:
            coming = loop.create_task(_next(pages))
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await pages.aclose()


async def _next(pages: AsyncGenerator[Page, None]) -> Page | None:
    return await anext(pages, None)
