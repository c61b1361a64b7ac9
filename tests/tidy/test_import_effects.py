"""Importing a module opens nothing: no connection, no file to write, no process, no event loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.tidy.sources import PACKAGE, module_name, python_files

# Alembic runs this file; nobody imports it.
RUN_NOT_IMPORTED = {PACKAGE / "ledger" / "migrations" / "env.py"}

PROBE = """
import importlib, json, os, sys

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
FORBIDDEN = {
    "socket.__new__", "socket.connect", "socket.bind", "sqlite3.connect", "subprocess.Popen",
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.mkdir", "os.remove",
    "os.rename", "os.rmdir", "_thread.start_new_thread",
}
found = []
importing = None

def watch(event, arguments):
    if importing is None:
        return
    if event in FORBIDDEN or (event == "open" and arguments[2] & WRITES):
        found.append([importing, event, repr(arguments)[:120]])

sys.addaudithook(watch)
for importing in sys.argv[1:]:
    importlib.import_module(importing)
importing = None
json.dump(found, sys.stdout)
"""


def _probe(*modules, path=()):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    run = subprocess.run(
        [sys.executable, "-c", PROBE, *modules],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_importing_everything_opens_nothing():
    files = [path for path in python_files("src") if path not in RUN_NOT_IMPORTED]
    assert files
    assert _probe(*map(module_name, files)) == []


def test_the_probe_sees_what_it_is_for(tmp_path):
    (tmp_path / "opens.py").write_text(
        "import socket, tempfile\nsocket.socket().close()\ntempfile.TemporaryFile().close()\n"
    )
    events = {event for _, event, _ in _probe("opens", path=[tmp_path])}
    assert {"socket.__new__", "open"} <= events
