"""Webhooks go to everybody's internet only, and to nothing that calls itself otherwise."""

from __future__ import annotations

from typing import Any, cast

import pytest

from flashstock.errors import InvalidRequest, TooManyWebhooks
from flashstock.notices import webhooks as module
from flashstock.notices.schedule import (
    DELAY_MS_MAX,
    FIRST_DELAY_MS,
    TRIES_MAX,
    retry_delay_ms,
)
from flashstock.notices.sender import ForbiddenAddress, HttpSender, PublicResolver, url_problem
from flashstock.notices.topics import wants
from flashstock.notices.webhooks import Webhooks

NO_STORE = cast("Any", None)
"""Nothing is asked of the store before the URL was looked at."""
PUBLIC = [
    "https://shop.example/hooks?x=1",
    "https://8.8.8.8:8443/hook",
    "https://[2606:4700::1111]/",
]
REFUSED = [
    "",
    "hook",
    "http://shop.example/hook",
    "ftp://shop.example/",
    "https:///hook",
    "https://user:word@shop.example/",
    "https://shop.example/#part",
    "https://127.0.0.1/",
    "https://10.1.2.3/",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[64:ff9b::a00:1]/",
    "https://[2002:a00:1::]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:0:10.0.0.1]/",
    "https://[64:ff9b:1::a00:1]/",
    "https://2130706433/",
    "https://127.1/",
    "https://0177.0.0.1/",
    "https://224.0.0.1/",
    "https://0.0.0.0/",
    "https://shop.example:99999/",
    "https://shop.example/\n",
    "https://shop.example/" + "a" * 2_000,
]


@pytest.mark.parametrize("url", PUBLIC)
def test_public_addresses_are_taken(url):
    assert url_problem(url, private_allowed=False) is None


@pytest.mark.parametrize("url", REFUSED)
async def test_others_are_refused(url, clock):
    assert url_problem(url, private_allowed=False)
    with pytest.raises(InvalidRequest) as refused:
        await Webhooks(NO_STORE, clock, private_allowed=False).create(url, ["*"])
    assert refused.value.extra["errors"][0]["field"] == "url"


@pytest.mark.parametrize("host", ["localhost", "0x7f.1", "127.1"])
async def test_a_name_for_a_private_address_is_found_out_when_it_is_looked_up(host):
    resolver = PublicResolver()
    with pytest.raises((ForbiddenAddress, OSError)):
        await resolver.resolve(host, 443)
    await resolver.close()


async def test_a_strict_sender_does_not_go_where_a_name_leads_inside(receiver):
    sender = HttpSender(private_allowed=False)
    url = receiver.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
    outcome = await sender.send(url, {}, "{}")
    assert outcome.status is None
    assert "no public address" in outcome.problem
    assert not outcome.delivered
    await sender.close()
    assert receiver.received == []


async def test_webhooks_are_bounded_in_number(webhooks, monkeypatch):
    monkeypatch.setattr(module, "WEBHOOKS_MAX", 3)
    for _ in range(3):
        await webhooks.create("https://shop.example/", ["*"])
    with pytest.raises(TooManyWebhooks):
        await webhooks.create("https://shop.example/", ["*"])
    assert len(await webhooks.all()) == 3


def test_waits_grow_are_bounded_and_scatter():
    longest = [retry_delay_ms(tries, 1 - 1e-9) for tries in range(1, TRIES_MAX + 1)]
    shortest = [retry_delay_ms(tries, 0.0) for tries in range(1, TRIES_MAX + 1)]
    assert longest == sorted(longest)
    assert longest[0] <= FIRST_DELAY_MS
    assert longest[-1] <= DELAY_MS_MAX
    assert all(2 * low >= high for low, high in zip(shortest, longest, strict=True))
    assert all(low < high for low, high in zip(shortest, longest, strict=True))
    assert retry_delay_ms(1, 0.0, asked_ms=60_000) == 60_000
    assert retry_delay_ms(1, 0.0, asked_ms=10 * DELAY_MS_MAX) == DELAY_MS_MAX
    assert retry_delay_ms(10_000, 0.0) == DELAY_MS_MAX // 2


@pytest.mark.parametrize(
    ("wanted", "topic", "told"),
    [
        (["*"], "order.paid", True),
        (["order.paid"], "order.paid", True),
        (["order.*"], "order.paid", True),
        (["order.*"], "orders.paid", False),
        (["order.paid"], "order.paid.late", False),
        ([], "order.paid", False),
    ],
)
def test_what_was_asked_for(wanted, topic, told):
    assert wants(wanted, topic) is told
