"""Keys, roles, and the memory that answers for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flashstock.api.auth import CACHE_MAX, Keyring, Principal, Role, key_hash, new_api_key
from flashstock.errors import Forbidden, Unauthorized, Unavailable
from tests.unit.api.fakes import KEYS, NOW_MS, FakeQueries

SHOP = b"Bearer fsk_shop"


async def _keyring(**arguments):
    keyring = Keyring(**arguments)
    await keyring.refresh(FakeQueries())
    return keyring


def _no_keys():
    return FakeQueries(keys={})


@pytest.mark.parametrize("role", list(Role))
async def test_a_key_is_its_principal(role):
    keyring = await _keyring()
    header = f"Bearer {KEYS[role]}".encode()
    assert keyring.principal(header) == Principal(role.value, role)
    assert keyring.principal(header) is keyring.principal(header)


@pytest.mark.parametrize("header", [b"bearer fsk_shop", b"BEARER   fsk_shop", b" Bearer fsk_shop "])
async def test_the_scheme_is_read_as_http_writes_it(header):
    assert (await _keyring()).principal(header).name == "storefront"


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"fsk_shop",
        b"Basic fsk_shop",
        b"Bearer",
        b"Bearer ",
        b"Bearer fsk_shop x",
        b"Bearer fsk_other",
        b"Bearer \xff\xfe",
        b"Bearer " + b"k" * 10_000,
        key_hash("fsk_shop").encode(),
        b"Bearer " + key_hash("fsk_shop").encode(),
    ],
)
async def test_anything_else_is_unauthorized(header):
    keyring = await _keyring(admin_key="the-admins-own")
    with pytest.raises(Unauthorized):
        keyring.principal(header)


@pytest.mark.parametrize("has", list(Role))
@pytest.mark.parametrize("needs", list(Role))
async def test_each_role_may_do_what_the_ones_before_it_may(has, needs):
    keyring = await _keyring()
    header = f"Bearer {KEYS[has]}".encode()
    order = list(Role)
    assert has.includes(needs) == (order.index(has) >= order.index(needs))
    if has.includes(needs):
        assert keyring.authorize(header, needs).role is has
    else:
        with pytest.raises(Forbidden):
            keyring.authorize(header, needs)


async def test_the_admin_key_needs_no_ledger():
    keyring = Keyring(admin_key="the-admins-own")
    assert keyring.principal(b"Bearer the-admins-own") == Principal("admin", Role.ADMIN)


async def test_before_the_first_reading_a_stored_key_is_told_to_come_back():
    with pytest.raises(Unavailable):
        Keyring().principal(SHOP)


async def test_a_revoked_key_is_out_at_the_next_reading():
    keyring, table = Keyring(), FakeQueries()
    await keyring.refresh(table)
    assert keyring.principal(SHOP).name == "storefront"
    table.keys["storefront"] = replace(table.keys["storefront"], revoked_at_ms=NOW_MS)
    await keyring.refresh(table)
    with pytest.raises(Unauthorized):
        keyring.principal(SHOP)


async def test_a_ledger_that_is_away_revokes_nobody():
    keyring, table = Keyring(), FakeQueries()
    await keyring.refresh(table)
    table.away = True
    await keyring.refresh_or_keep(table)
    assert keyring.principal(SHOP).name == "storefront"


async def test_the_cache_does_not_grow_for_ever():
    keyring = await _keyring()
    for spaces in range(1, CACHE_MAX + 100):
        keyring.principal(b"Bearer" + b" " * spaces + b"fsk_shop")
    assert len(keyring._cache) <= CACHE_MAX


async def test_open_mode_asks_nobody_and_ignores_keys():
    keyring = Keyring(open_mode=True)
    await keyring.refresh(_no_keys())
    assert keyring.open
    for header in (None, b"Bearer nonsense"):
        assert keyring.authorize(header, Role.ADMIN) == Principal("local", Role.ADMIN)


async def test_open_mode_is_not_open_before_it_is_known_that_there_is_no_key():
    keyring = Keyring(open_mode=True)
    with pytest.raises(Unavailable):
        keyring.principal(None)


async def test_open_mode_ends_with_the_first_key():
    keyring, table = Keyring(open_mode=True), _no_keys()
    await keyring.refresh(table)
    await table.add_api_key("shop", "storefront", key_hash("fsk_shop"), NOW_MS)
    await keyring.refresh(table)
    assert not keyring.open
    assert keyring.principal(SHOP).name == "shop"
    with pytest.raises(Unauthorized):
        keyring.principal(None)


async def test_an_admin_key_rules_open_mode_out():
    keyring = Keyring(admin_key="the-admins-own", open_mode=True)
    await keyring.refresh(_no_keys())
    with pytest.raises(Unauthorized):
        keyring.principal(None)


async def test_a_role_nobody_knows_opens_nothing():
    table = FakeQueries()
    table.keys["storefront"] = replace(table.keys["storefront"], role="owner")
    keyring = Keyring()
    await keyring.refresh(table)
    with pytest.raises(Unauthorized):
        keyring.principal(SHOP)


def test_new_keys_differ_and_can_be_sent():
    keys = {new_api_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert key.startswith("fsk_")
        assert len(key) >= 36
        assert key.isascii()
        assert key.isprintable()
