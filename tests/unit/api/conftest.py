from __future__ import annotations

import pytest

from tests.unit.api.fakes import Fakes


@pytest.fixture
async def fakes():
    """An application over fakes that has read its keys."""
    made = Fakes()
    await made.services.keyring.refresh(made.queries)
    return made
