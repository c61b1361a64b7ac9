"""From bytes to typed answers, and what the calls of the client are built on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from flashstock.client.problems import UnexpectedAnswer

SAFE_IN_PATH: Final = "~"

_Answer = TypeVar("_Answer")


class Received(NamedTuple):
    """An answer below 300."""

    payload: bytes
    replayed: bool


def decoder(kind: type[_Answer]) -> Callable[[bytes], _Answer]:
    """What reads answers of a kind; whatever is none raises ``UnexpectedAnswer``."""
    decode = msgspec.json.Decoder(kind).decode

    def checked(payload: bytes) -> _Answer:
        try:
            return decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise UnexpectedAnswer(f"not a {kind.__name__}: {problem}") from problem

    return checked


def segment(text: str) -> str:
    """One segment of a path, whatever the text holds."""
    return quote(text, safe=SAFE_IN_PATH)
