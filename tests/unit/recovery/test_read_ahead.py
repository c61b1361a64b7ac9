"""Reading ahead: the same pages, one early at most, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from flashstock.recovery.read_ahead import read_ahead


class Pages:
    """Numbers, and a note of how far they were read and whether they were closed."""

    def __init__(self, count: int, *, fails_at: int | None = None) -> None:
        self.read = 0
        self.closed = False
        self._count = count
        self._fails_at = fails_at

    async def __call__(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self._count):
                await asyncio.sleep(0)
                if number == self._fails_at:
                    raise LookupError(number)
                self.read += 1
                yield number
        finally:
            self.closed = True


async def test_pages_come_in_order_and_one_early_at_most():
    pages = Pages(4)
    async with aclosing(read_ahead(pages())) as ahead:
        async for number in ahead:
            for _ in range(5):
                await asyncio.sleep(0)
            assert pages.read == min(number + 2, 4)
    assert pages.closed


async def test_whoever_stops_in_the_middle_leaves_nothing_behind():
    pages = Pages(4)
    before = asyncio.all_tasks()
    async with aclosing(read_ahead(pages())) as ahead:
        async for _ in ahead:
            break
    assert pages.closed
    assert asyncio.all_tasks() == before


async def test_what_went_wrong_early_is_raised_where_the_page_is_wanted():
    async with aclosing(read_ahead(Pages(4, fails_at=2)())) as ahead:
        assert [await anext(ahead), await anext(ahead)] == [0, 1]
        with pytest.raises(LookupError):
            await anext(ahead)
