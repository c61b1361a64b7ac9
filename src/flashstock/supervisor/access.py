"""Who may talk to this service: nobody is served over a network without a key."""

from __future__ import annotations

from enum import StrEnum

from flashstock.config import Settings
from flashstock.errors import ConfigurationError
from flashstock.ledger.engine import create_engine
from flashstock.ledger.queries import Queries


class Access(StrEnum):
    OPEN = "open: loopback only"
    KEYS = "API keys"
    NOBODY = "no API key exists yet"


async def decide_access(settings: Settings) -> Access:
    """How requests are let in, given the settings and the keys the ledger holds.

    Raises:
        ConfigurationError: the address can be reached from outside and there is no key.
    """
    if settings.admin_key is not None or await _has_stored_key(settings):
        return Access.KEYS
    if not settings.loopback:
        raise ConfigurationError(
            f"FLASHSTOCK_HOST: {settings.host} can be reached from outside and there is no API"
            " key: set FLASHSTOCK_ADMIN_KEY, or make a key with 'flashstock keys create', or"
            " bind to 127.0.0.1"
        )
    return Access.OPEN if settings.may_run_open else Access.NOBODY


async def _has_stored_key(settings: Settings) -> bool:
    engine = create_engine(settings.ledger_url)
    try:
        return any(key.revoked_at_ms is None for key in await Queries(engine).api_keys())
    finally:
        await engine.dispose()
