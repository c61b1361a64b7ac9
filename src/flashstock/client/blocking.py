"""The client that blocks: the same calls, without ``await``.

There is one client. Over a transport that blocks, and with a sleep that blocks, its coroutines
have nothing to wait for: each runs to its end in one step.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from random import Random
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from flashstock.client.core import RECEIPTS_MAX, Observer
from flashstock.client.http import Client
from flashstock.client.retry import RetryPolicy
from flashstock.client.transport import (
    CONNECTIONS_MAX,
    TIMEOUT_MS,
    BlockingHttpxTransport,
    Transport,
)

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_OVER: Final = object()


def _finish(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """What it returns, or raises."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    coroutine.close()
    raise RuntimeError("the transport of a blocking client must not wait")


def _blocking(
    call: Callable[Concatenate[Client, _Parameters], Coroutine[Any, Any, _Result]],
) -> Callable[Concatenate[BlockingClient, _Parameters], _Result]:
    @wraps(call)
    def blocked(
        client: BlockingClient, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        return _finish(call(client.waiting, *args, **kwargs))

    return blocked


def _one_by_one(
    call: Callable[Concatenate[Client, _Parameters], AsyncIterator[_Result]],
) -> Callable[Concatenate[BlockingClient, _Parameters], Iterator[_Result]]:
    @wraps(call)
    def blocked(
        client: BlockingClient, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> Iterator[_Result]:
        found = call(client.waiting, *args, **kwargs)
        while (one := _finish(_next(found))) is not _OVER:
            yield one

    return blocked


async def _next(found: AsyncIterator[Any]) -> Any:
    return await anext(found, _OVER)


class BlockingClient:
    """``Client`` for code that does not await; a context manager.

    Its calls, their errors, retries and receipts are those of ``Client``, one by one. Threads
    may share it.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        connections_max: int = CONNECTIONS_MAX,
        timeout_ms: int = TIMEOUT_MS,
        retry: RetryPolicy | None = None,
        receipts_max: int = RECEIPTS_MAX,
        observe: Observer | None = None,
        transport: Transport | None = None,
        random: Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        async def slept(seconds: float) -> None:
            sleep(seconds)

        self.waiting = Client(
            base_url,
            api_key=api_key,
            retry=retry,
            receipts_max=receipts_max,
            observe=observe,
            transport=transport
            or BlockingHttpxTransport(connections_max=connections_max, timeout_ms=timeout_ms),
            random=random,
            sleep=slept,
        )

    def __enter__(self) -> Self:
        _finish(self.waiting.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _finish(self.waiting.__aexit__(kind, problem, trace))

    reserve = _blocking(Client.reserve)
    reserve_many = _blocking(Client.reserve_many)
    reserve_cart = _blocking(Client.reserve_cart)
    reservation = _blocking(Client.reservation)
    confirm = _blocking(Client.confirm)
    cancel = _blocking(Client.cancel)
    extend = _blocking(Client.extend)
    return_units = _blocking(Client.return_units)

    open_group = _blocking(Client.open_group)
    join_group = _blocking(Client.join_group)
    group = _blocking(Client.group)
    open_groups = _one_by_one(Client.open_groups)

    open_pool = _blocking(Client.open_pool)
    pool = _blocking(Client.pool)
    pools = _one_by_one(Client.pools)
    adjust = _blocking(Client.adjust)
    pause_pool = _blocking(Client.pause_pool)
    resume_pool = _blocking(Client.resume_pool)
    close_pool = _blocking(Client.close_pool)
    reconciliation = _blocking(Client.reconciliation)
    refunds = _one_by_one(Client.refunds)
    settle_refund = _blocking(Client.settle_refund)
    ready = _blocking(Client.ready)

    put_location = _blocking(Client.put_location)
    import_skus = _blocking(Client.import_skus)
    move = _blocking(Client.move)
    draft_campaign = _blocking(Client.draft_campaign)
    campaign = _blocking(Client.campaign)
    submit_campaign = _blocking(Client.submit_campaign)
    approve_campaign = _blocking(Client.approve_campaign)
    add_to_campaign = _blocking(Client.add_to_campaign)
    pause_campaign = _blocking(Client.pause_campaign)
    resume_campaign = _blocking(Client.resume_campaign)
    end_campaign = _blocking(Client.end_campaign)
    public_campaign = _blocking(Client.public_campaign)
    ship = _blocking(Client.ship)
    take_back = _blocking(Client.take_back)
    orders_since = _one_by_one(Client.orders_since)
    balances = _one_by_one(Client.balances)
    stock_identity = _blocking(Client.stock_identity)
