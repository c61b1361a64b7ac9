"""The one listening socket that every API worker shares."""

from __future__ import annotations

import errno
import socket
from typing import Final

from flashstock.errors import ConfigurationError

BACKLOG: Final = 4096
"""Connections the kernel keeps for us while a worker restarts or a sale opens."""


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket that does not listen yet. Port 0 takes any free one.

    Raises:
        ConfigurationError: the port is busy or needs privileges, or the host is none of ours.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as problem:
        raise ConfigurationError(
            f"FLASHSTOCK_HOST: {host!r} is no address of this machine: {problem.strerror}"
        ) from problem
    # `localhost` may be both; clients that are told 127.0.0.1 must reach us.
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as problem:
        listener.close()
        raise _explained(problem, host, port) from problem
    return listener


def listen(listener: socket.socket) -> None:
    """Let connections queue up; nothing answers them before a worker does.

    Raises:
        ConfigurationError: another process began to listen there since ``bind``.
    """
    try:
        listener.listen(BACKLOG)
    except OSError as problem:
        host, port = listener.getsockname()[:2]
        raise _explained(problem, host, port) from problem


def url_of(listener: socket.socket) -> str:
    """Where this machine reaches the socket; a wildcard address is reached through loopback."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _explained(problem: OSError, host: str, port: int) -> ConfigurationError:
    if problem.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"FLASHSTOCK_PORT: {port} is in use on {host}; stop what listens there, or choose"
            " another --port (0 takes any free one)"
        )
    if problem.errno == errno.EACCES:
        return ConfigurationError(
            f"FLASHSTOCK_PORT: this account may not bind {port}; choose one above 1023"
        )
    return ConfigurationError(f"FLASHSTOCK_HOST: {host} can't be bound: {problem.strerror}")
