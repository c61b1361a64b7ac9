"""The interface that is described: as the API itself describes it, with no store behind it."""

from __future__ import annotations

import asyncio
from typing import Any

from flashstock.api.app import build_api
from flashstock.bootstrap import Secrets, build_services
from flashstock.config import Settings
from flashstock.model.receipts import ReceiptSigner


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document. Nothing is opened."""

    async def describe() -> dict[str, Any]:
        settings = Settings(
            redis_url="redis://nowhere.invalid", database_url="sqlite:////nowhere/ledger.db"
        )
        secrets = Secrets(b"", ReceiptSigner({"k1": b"not a secret"}, "k1"))
        return build_api(build_services(settings, secrets)).openapi()

    return asyncio.run(describe())
