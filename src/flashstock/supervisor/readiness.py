"""When the service answers, and telling people and programs so."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

PROBE_TIMEOUT_SECONDS: Final = 2.0
PROBE_INTERVAL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """What runs where: the content of ``--ready-file``, renewed when a child is replaced."""

    url: str
    pid: int
    writer_pid: int | None
    worker_pids: Sequence[int]
    valkey_pid: int | None
    redis_url: str
    database_url: str

    def write(self, path: Path) -> None:
        """Put it in the file, all at once. The URLs may hold passwords: owner only."""
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        Path(temporary).replace(path)


async def probe(url: str) -> str:
    """Ask ``/readyz`` once: empty when it says 200, else why not."""
    where = urlsplit(url)
    request = f"GET /readyz HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            try:
                writer.write(request.encode())
                answer = await reader.read()
            finally:
                writer.close()
    except TimeoutError:
        return "no answer yet"
    except OSError as problem:
        return str(problem)
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 200"):
        return ""
    return body.decode(errors="replace") or "the connection was closed"
