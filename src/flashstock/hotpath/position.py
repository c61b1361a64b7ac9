"""Where a shard's log stands, told apart from another place of the same number."""

from __future__ import annotations

from typing import Final

_MARK: Final = ":"
_MARK_BYTES: Final = _MARK.encode()


class Position(int):
    """A seq, and the stream id of the log entry that it ends.

    A server that became a copy of an earlier state gives its numbers out again. The decisions
    that have them then are others, and have other ids. An empty id is one that nobody knows.
    """

    log_id: str

    def __new__(cls, seq: int, log_id: str) -> Position:
        position = super().__new__(cls, seq)
        position.log_id = log_id
        return position

    def text(self) -> str:
        """As scripts answer it and data sets keep it: ``seq:log_id``."""
        return f"{int(self)}{_MARK}{self.log_id}"


def read_position(text: bytes) -> Position:
    """The inverse of ``Position.text``."""
    seq, _, log_id = text.partition(_MARK_BYTES)
    return Position(int(seq), log_id.decode())
