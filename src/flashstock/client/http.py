"""The client that waits."""

from __future__ import annotations

from flashstock.client.book_calls import BookCalls
from flashstock.client.group_calls import GroupCalls
from flashstock.client.pool_calls import PoolCalls
from flashstock.client.sale_calls import SaleCalls


class Client(SaleCalls, GroupCalls, PoolCalls, BookCalls):
    """Speaks to one flashstock service; an async context manager.

    Every call may be repeated by the caller with the same arguments, and is repeated by the
    client, with the same key, when the answer is a 502, 503 or 504 or does not come. Whatever
    takes or moves stock wants a key from the caller, so a repetition can't take it twice: not
    even by another process that does the same again after a crash.

    All calls raise the error that the answer's ``code`` stands for (``flashstock.errors``),
    ``Unavailable`` where no answer came within the policy (the request may have taken effect:
    the same call again finds out), and ``UnexpectedAnswer`` where the answer is none of the
    interface.

    Args:
        base_url: where the service is, ``https://stock.example`` for one.
        api_key: sent as ``Authorization: Bearer``.
        connections_max: how many requests can be under way at once.
        timeout_ms: for each send of a request.
        retry: how often and how patiently to send again.
        receipts_max: how many receipts of holds are kept, the newest ones.
        observe: told of every send.
        transport: what carries the requests instead of httpx with these limits.

    Raises:
        ConfigurationError: ``base_url`` is no http address.
    """
