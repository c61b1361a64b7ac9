"""How groups end: asked of the service, for each group whose time is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final, Protocol

from flashstock.client import Group, Pool
from flashstock.demo.group_seats import FAILED, OPEN, Register
from flashstock.demo.pace import now_ms
from flashstock.errors import Unavailable

LOOK_SECONDS: Final = 0.25
LOOKS_AT_ONCE: Final = 16


class GroupBooks(Protocol):
    """Where the service's present state is read."""

    async def group(self, group: str) -> Group: ...

    async def pool(self, pool: str) -> Pool: ...


class GroupEnds:
    """Keeps a register up to date with how its groups end."""

    def __init__(self, books: GroupBooks, register: Register, pools: Sequence[str]) -> None:
        self._books = books
        self._register = register
        self._pools = pools

    async def run(self) -> None:
        """Ask, again and again, until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(LOOK_SECONDS)

    async def ask(self) -> None:
        """Ask for each group whose time is over, and whose end nobody was told."""
        turn = asyncio.Semaphore(LOOKS_AT_ONCE)

        async def look(group: str) -> None:
            async with turn:
                try:
                    self._register.settled(await self._books.group(group))
                except Unavailable:
                    return

        await asyncio.gather(*(look(group) for group in self._register.undecided(now_ms())))

    async def wait(self, seconds: float) -> None:
        """Until every group has ended, no seat is held, and every refund is on its way.

        Bounded: what does not come to its end is found by the check afterwards.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pools = [await self._books.pool(pool) for pool in self._pools]
            if self._register.count(OPEN) == 0 and not any(pool.held for pool in pools):
                break
            await self.ask()
            await asyncio.sleep(LOOK_SECONDS)
        failed = {group.id for group in self._register.groups.values() if group.state == FAILED}
        while failed and time.monotonic() < deadline:
            for group in sorted(failed):
                found = await self._books.group(group)
                if not found.paid and not found.pending:
                    failed.discard(group)
            if failed:
                await asyncio.sleep(LOOK_SECONDS)
