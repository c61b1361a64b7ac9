"""Where the reservation store is: one address, or whom to ask for the primary."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode

SENTINEL_PORT: Final = 26_379
CLUSTER_PORT: Final = 6_379
NOWHERE: Final = "located.invalid:0"
"""Stands for the host in a URL whose host is found out before every connection."""
_SENTINEL_CREDENTIALS: Final = ("sentinel_username", "sentinel_password")


class FoundBy(StrEnum):
    """How the server is found to which a new connection goes."""

    ADDRESS = "address"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A ``FLASHSTOCK_REDIS_URL``, taken apart."""

    found_by: FoundBy
    url: str
    """``redis://``, ``rediss://`` or ``unix://``. The host in it stands for nothing, unless the
    server is found by its address."""
    hosts: tuple[tuple[str, int], ...] = ()
    """Who is asked for the primary: sentinels, or some nodes of a cluster."""
    service: str = ""
    """What the sentinels call it."""
    sentinel_credentials: dict[str, str] = field(default_factory=dict)
    """User and password for the sentinels themselves, where they want any."""


def parse_store_address(url: str) -> StoreAddress:
    """Take a URL apart.

    ``redis+sentinel://[user:password@]host[:port],…/service[/database][?options]`` and
    ``redis+cluster://[user:password@]host[:port],…[?options]``; with ``rediss`` over TLS. Anything
    else is one address.

    Raises:
        ValueError: what is wrong, without repeating a secret.
    """
    scheme, _, rest = url.partition("://")
    transport, _, found_by = scheme.partition("+")
    if not found_by:
        return StoreAddress(FoundBy.ADDRESS, url)
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    credentials, at, listed = authority.rpartition("@")
    parts = [unquote(part) for part in path.rstrip("/").split("/")] if path.strip("/") else []
    options = dict(parse_qsl(query, keep_blank_values=True))
    asked = {name[9:]: options.pop(name) for name in _SENTINEL_CREDENTIALS if name in options}
    if found_by == FoundBy.CLUSTER:
        if asked:
            raise ValueError("a cluster has no sentinels that could want a password")
        if parts not in ([], ["0"]):
            raise ValueError("a cluster has one database, so nothing may follow the hosts")
        hosts, service, database = _hosts(listed, CLUSTER_PORT), "", "0"
    elif found_by == FoundBy.SENTINEL:
        if not 1 <= len(parts) <= 2 or not parts[0]:
            raise ValueError(
                "must name the service behind the sentinels: redis+sentinel://host:26379,…/SERVICE"
            )
        service, database = parts[0], parts[1] if len(parts) == 2 else "0"
        if not database.isdecimal():
            raise ValueError("what follows the service is the number of a database")
        hosts = _hosts(listed, SENTINEL_PORT)
    else:
        raise ValueError("must be +sentinel or +cluster, or an address alone")
    known = f"{transport}://{credentials}{at}{NOWHERE}/{database}"
    if options:
        known += f"?{urlencode(options)}"
    return StoreAddress(FoundBy(found_by), known, hosts, service, asked)


def _hosts(listed: str, port_default: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for number, one in enumerate(listed.split(","), start=1):
        host, port = _split(one.strip())
        if not host or not (port == "" or (port.isdecimal() and 0 < int(port) < 65_536)):
            raise ValueError(f"host {number} of the list is not 'host:port'")
        hosts.append((host, int(port or port_default)))
    return tuple(hosts)


def _split(one: str) -> tuple[str, str]:
    """Host and port, an IPv6 address in brackets."""
    if one.startswith("["):
        host, closed, rest = one[1:].partition("]")
        return (host, rest[1:]) if closed and rest[:1] in ("", ":") else ("", "")
    host, colon, port = one.partition(":")
    return host, port if port or not colon else "-"
