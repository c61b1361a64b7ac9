"""Who is asking: API keys, their roles, and the answer from memory.

Keys are random and 192 bits long, so an unsalted SHA-256 is all the protection at rest they need.
No comparison has to take constant time: a key is found by its hash, which nobody can steer
towards a stored one, and in the cache by the interpreter's randomly seeded hash.

Imports nothing of the web framework, so that the command line can use it.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from flashstock.errors import FlashstockError, Forbidden, Unauthorized, Unavailable

KEY_PREFIX: Final = "fsk_"
KEY_BYTES: Final = 24
KEY_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
ADMIN_NAME: Final = "admin"
LOCAL_NAME: Final = "local"
RESERVED_NAMES: Final = frozenset({ADMIN_NAME, LOCAL_NAME})
"""A reservation id is derived from the caller's name, so no stored key may share one of these."""
CACHE_MAX: Final = 10_000
REFRESH_INTERVAL_SECONDS: Final = 3.0
"""How long a revoked key may go on working in another process."""

_BEARER: Final = re.compile(rb"bearer +([\x21-\x7e]{1,512})", re.IGNORECASE)
_log = logging.getLogger("flashstock.api.auth")


class Role(StrEnum):
    """What a key may do. Each role may do what the ones before it may."""

    STOREFRONT = "storefront"
    OPS = "ops"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether this role may do what ``other`` may."""
        return _RANK[self] >= _RANK[other]


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. The name is the ``caller`` that idempotency keys belong to."""

    name: str
    role: Role
    may: frozenset[str] = field(init=False, repr=False, compare=False)
    """The roles that its own includes, worked out once: every request asks."""

    def __post_init__(self) -> None:
        included = frozenset(role.value for role in Role if self.role.includes(role))
        object.__setattr__(self, "may", included)


class StoredKey(Protocol):
    """A row of ``api_keys``."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def key_hash(self) -> str: ...
    @property
    def revoked_at_ms(self) -> int | None: ...


class KeyTable(Protocol):
    """What the keyring needs of SQL."""

    async def api_keys(self) -> Sequence[StoredKey]: ...


def new_api_key() -> str:
    """A fresh key. It is shown once; only its hash is stored."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def key_hash(key: str) -> str:
    """What is stored of a key: SHA-256 in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


class Keyring:
    """Maps ``Authorization`` headers to principals without asking anyone.

    Until the first ``refresh`` only the admin key is known; others are told to come back.

    Args:
        admin_key: the key of the built-in principal ``admin``, if there is one.
        open_mode: whether everybody is ``local``, an admin, as long as no key is stored. A key
            that is sent nevertheless is then ignored.
    """

    def __init__(self, admin_key: str | None = None, *, open_mode: bool = False) -> None:
        self._builtin: dict[str, Principal] = {}
        if admin_key is not None:
            self._builtin[key_hash(admin_key)] = Principal(ADMIN_NAME, Role.ADMIN)
        self._may_be_open = open_mode and admin_key is None
        self._by_hash: Mapping[str, Principal] = self._builtin
        self._cache: dict[bytes, Principal] = {}
        self._local: Principal | None = None
        self._loaded = False

    @property
    def open(self) -> bool:
        """Whether requests need no key at the moment."""
        return self._local is not None

    @property
    def known(self) -> Mapping[str, Principal]:
        """Every valid key's hash, and whose it is."""
        return self._by_hash

    def principal(self, authorization: bytes | None) -> Principal:
        """Who sends this ``Authorization`` header.

        Raises:
            Unauthorized: there is none, or no valid key in it.
            Unavailable: the keys have not been read yet.
        """
        if self._local is not None:
            return self._local
        if authorization is not None:
            known = self._cache.get(authorization)
            if known is not None:
                return known
        return self._look_up(authorization)

    def authorize(self, authorization: bytes | None, role: Role) -> Principal:
        """Like ``principal``, for something that takes a role.

        Raises:
            Unauthorized: no valid key. Forbidden: a valid key of a lesser role.
        """
        principal = self.principal(authorization)
        if role not in principal.may:
            raise Forbidden(
                f"this takes the role {role}; key {principal.name!r} is {principal.role}"
            )
        return principal

    def _look_up(self, authorization: bytes | None) -> Principal:
        if self._may_be_open and not self._loaded:
            raise Unavailable("the API keys have not been read yet")
        if authorization is None:
            raise Unauthorized
        bearer = _BEARER.fullmatch(authorization.strip(b" \t"))
        if bearer is None:
            raise Unauthorized("the Authorization header must be: Bearer <key>")
        found = self._by_hash.get(key_hash(bearer[1].decode("ascii")))
        if found is None:
            if not self._loaded:
                raise Unavailable("the API keys have not been read yet")
            raise Unauthorized("this API key is not known, or was revoked")
        # Only valid keys get in, so strangers can't fill it; spellings of one key could.
        if len(self._cache) < CACHE_MAX:
            self._cache[authorization] = found
        return found

    async def refresh(self, table: KeyTable) -> None:
        """Take over the keys as SQL has them now; revoked ones are out at once.

        Raises what the table raises; the keys known so far then stay.
        """
        stored = {
            key.key_hash: Principal(key.name, Role(key.role))
            for key in await table.api_keys()
            if key.revoked_at_ms is None and key.role in _RANK
        }
        by_hash = {**stored, **self._builtin}
        if by_hash != self._by_hash:
            self._by_hash = by_hash
            self._cache = {}
        self._loaded = True
        is_open = self._may_be_open and not stored
        self._local = Principal(LOCAL_NAME, Role.ADMIN) if is_open else None

    async def refresh_or_keep(self, table: KeyTable) -> None:
        """``refresh``, but a ledger that is away changes nothing and is only logged."""
        try:
            await self.refresh(table)
        except FlashstockError as problem:
            _log.warning("API keys were not refreshed: %s", problem)
