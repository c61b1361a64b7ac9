"""Putting on record what was changed from the command line."""

from __future__ import annotations

import getpass
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flashstock.config import Settings


async def on_record(settings: Settings, command: str, subject: str, detail: str = "") -> None:
    """Add to the audit log what a command has done, by the name of who ran it and on which host.

    Args:
        subject: what it was done to.

    Raises:
        LedgerUnavailable: it is done, but may not be on record.
    """
    from flashstock.api.auth import Role
    from flashstock.ledger.audit import AuditLog, Change
    from flashstock.ledger.engine import create_engine

    engine = create_engine(settings.ledger_url)
    change = Change(
        actor=_user(),
        role=Role.ADMIN.value,
        via="cli",
        address=socket.gethostname(),
        action=f"flashstock {command}",
        subject=subject,
        detail=detail,
        status=200,
    )
    try:
        await AuditLog(engine, lambda: time.time_ns() // 1_000_000).record(change)
    finally:
        await engine.dispose()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user that nobody named
        return str(os.getuid())
