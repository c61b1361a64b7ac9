from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.processes import Service, eventually, open_pool, reserve, serving


@pytest.fixture(scope="session")
def sale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has sold, refused, failed to find something, and proved its books."""
    with serving(tmp_path_factory.mktemp("observed") / "data") as service:
        with service.client() as client:
            open_pool(client, quantity=1)
            held = reserve(client, "first").json()
            reserve(client, "second")
            client.post(f"/v1/reservations/{held['id']}/confirm", json={"payment_ref": "pay-1"})
            assert client.get("/v1/pools/nowhere").status_code == 404
            eventually(lambda: _is_proved(client.get("/metrics").text), "the books are proved")
        yield service


def _is_proved(metrics: str) -> bool:
    return all(
        f"\nflashstock_{name}{{" in metrics for name in ("invariant_ok", "stock_identity_ok")
    )


@pytest.fixture(scope="session")
def metrics(sale: Service) -> str:
    with sale.client() as client:
        text: str = client.get("/metrics").text
    return text
