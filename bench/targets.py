"""Where the suite's own generator sends its requests, and what is in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Target:
    """Reservations for one pool, or for many that are asked for equally often."""

    url: str
    pool: str
    tag: str
    items_per_call: int
    api_key: str
    path: str
    pools: int = 1
    """With more than one, their names are ``pool_name(pool, number)``."""

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "127.0.0.1", parts.port or 80

    def requests(self) -> Iterator[bytes]:
        """Without end, each another buyer with another key."""
        host, port = self.address
        single = self.items_per_call == 1
        path = self.path or ("/v1/reservations" if single else "/v1/reservations/batch")
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self.api_key}\r\n"
        )
        next_pool = self._pools()
        number = 0
        while True:
            keys = [f"{self.tag}-{number + index}" for index in range(self.items_per_call)]
            number += self.items_per_call
            bodies = [f'"pool":"{next_pool()}","buyer":"b-{key}","quantity":1}}' for key in keys]
            if single:
                body = "{" + ('"match":true,' if path == GROUPS_PATH else "") + bodies[0]
            else:
                pairs = zip(keys, bodies, strict=True)
                items = ",".join(f'{{"idempotency_key":"{key}",{rest}' for key, rest in pairs)
                body = f'{{"items":[{items}]}}'
            yield (
                f"{head}Idempotency-Key: {keys[0]}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            ).encode()

    def _pools(self) -> Callable[[], str]:
        if self.pools == 1:
            return lambda: self.pool
        source = random.Random(self.tag)
        names = [pool_name(self.pool, number) for number in range(self.pools)]
        return lambda: source.choice(names)


GROUPS_PATH = "/v1/groups"
"""To which the body says besides: into any open group."""


def pool_name(pool: str, number: int) -> str:
    """The name of one of many pools."""
    return f"{pool}-{number}"
