"""A service with a shop, as a process, for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.processes import Service, serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("shop") / "data") as service:
        yield service


@pytest.fixture
def visitor(service: Service) -> Iterator[httpx.Client]:
    """A browser that nobody has used yet; it has been at the door."""
    with service.client() as visitor:
        assert visitor.get("/demo").status_code == 200
        yield visitor
