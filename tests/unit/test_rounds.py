"""What a round meets costs that round, whatever it is; who cancels the work is obeyed."""

from __future__ import annotations

import asyncio
import logging

import pytest

from flashstock.errors import Unavailable
from flashstock.rounds import costs_one_round

logger = logging.getLogger("flashstock.tests.rounds")


def fail(failure: BaseException) -> None:
    raise failure


def test_a_failure_that_has_a_code_is_said_at_the_level_that_was_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), costs_one_round(logger, "no tea", logging.WARNING):
        fail(Unavailable("the kettle is away"))
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "no tea: the kettle is away")


def test_a_failure_that_nobody_foresaw_is_an_error_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with costs_one_round(logger, "no tea", logging.DEBUG):
        fail(RuntimeError("nobody foresaw it"))
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "no tea")
    assert record.exc_info is not None


def test_cancellation_goes_through() -> None:
    with pytest.raises(asyncio.CancelledError), costs_one_round(logger, "no tea"):
        fail(asyncio.CancelledError())
