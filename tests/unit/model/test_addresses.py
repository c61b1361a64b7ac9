"""Every form of ``FLASHSTOCK_REDIS_URL`` is read as it is documented."""

from __future__ import annotations

import re
from typing import Any

import pytest
from redis.asyncio.connection import SSLConnection, parse_url

from flashstock.model.addresses import FoundBy, parse_store_address


@pytest.mark.parametrize("url", ["redis://h:1/2", "rediss://u:p@h", "unix:///run/valkey.sock"])
def test_one_address_is_left_as_it_is(url):
    address = parse_store_address(url)
    assert (address.found_by, address.url, address.hosts) == (FoundBy.ADDRESS, url, ())


def test_sentinels_are_listed_and_the_rest_is_for_the_servers():
    address = parse_store_address(
        "rediss+sentinel://shop:p%40ss@one,two:7000,[::1]:7001/sale%20day/3"
        "?ssl_ca_certs=/ca.pem&sentinel_username=watch&sentinel_password=w%26rd"
    )
    assert address.found_by is FoundBy.SENTINEL
    assert address.hosts == (("one", 26_379), ("two", 7_000), ("::1", 7_001))
    assert address.service == "sale day"
    assert address.sentinel_credentials == {"username": "watch", "password": "w&rd"}
    given: dict[str, Any] = dict(parse_url(address.url))
    assert (given["username"], given["password"], given["db"]) == ("shop", "p@ss", 3)
    assert given["connection_class"] is SSLConnection
    assert given["ssl_ca_certs"] == "/ca.pem"
    assert "sentinel_password" not in given


def test_a_cluster_is_some_of_its_nodes():
    address = parse_store_address("redis+cluster://:secret@one,two:7000/0")
    assert address.found_by is FoundBy.CLUSTER
    assert address.hosts == (("one", 6_379), ("two", 7_000))
    given = parse_url(address.url)
    assert (given["password"], given["db"]) == ("secret", 0)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis+sentinel://h", "name the service"),
        ("redis+sentinel:///sale", "host 1"),
        ("redis+sentinel://h/sale/1/2", "name the service"),
        ("redis+sentinel://h/sale/one", "number"),
        ("redis+sentinel://h:/sale", "host 1"),
        ("redis+sentinel://h,[::1/sale", "host 2"),
        ("redis+sentinel://[::1]x/sale", "host 1"),
        ("redis+cluster://h:0", "host 1"),
        ("redis+cluster://h,,i", "host 2"),
        ("redis+cluster://h/1", "one database"),
        ("redis+cluster://h?sentinel_password=secret", "no sentinels"),
        ("redis+socket://h", "+sentinel or +cluster"),
    ],
)
def test_what_cannot_be_read_is_refused_without_its_secret(url, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        parse_store_address(url.replace("://", "://u:hunter2@"))
    assert "hunter2" not in str(caught.value)
