"""The end of every run: let the log settle, then both checks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from flashstock.client import Client, Reconciliation
from flashstock.report.audit import Acknowledged, Findings, PoolExpected, audit

LAG_TIMEOUT_SECONDS: Final = 15.0
LAG_POLL_SECONDS: Final = 0.2


async def prove(
    client: Client,
    acknowledged: Iterable[Acknowledged],
    pools: Sequence[PoolExpected],
    refunds_due: Mapping[str, str] | None = None,
) -> tuple[Findings, Reconciliation]:
    """The check from outside and the service's own reconciliation.

    A log that is not applied within a while is left to the reconciliation, which reports the lag
    and the differences that it makes.
    """
    deadline = time.monotonic() + LAG_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if (await client.reconciliation()).lag_events == 0:
            break
        await asyncio.sleep(LAG_POLL_SECONDS)
    findings = await audit(client, acknowledged, pools, refunds_due)
    return findings, await client.reconciliation()
