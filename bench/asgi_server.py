"""One process that serves one of the suite's own ASGI apps, on a socket it is handed.

    python -m bench.asgi_server bench.noop:app --server uvicorn --fd 5

The server is started by the very functions that start an API worker of the service, so a ratio
compares applications and never server settings.
"""

from __future__ import annotations

import argparse
import importlib
import socket

from flashstock.supervisor.api_worker import run_granian, run_uvicorn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("target", help="module:attribute")
    parser.add_argument("--server", choices=("uvicorn", "granian"), required=True)
    parser.add_argument("--fd", type=int, required=True, help="a listening socket")
    given = parser.parse_args()
    module, _, attribute = given.target.partition(":")
    app = getattr(importlib.import_module(module), attribute)
    listener = socket.socket(fileno=given.fd)
    if given.server == "granian":
        run_granian(app, listener)
    else:
        run_uvicorn(app, listener)


if __name__ == "__main__":
    main()
