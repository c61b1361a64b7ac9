"""From a file to lines of text, or a clear word why not."""

from __future__ import annotations

import codecs
import re
from io import StringIO
from pathlib import Path
from typing import Final, NamedTuple

from flashstock.errors import ConfigurationError

FILE_BYTES_MAX: Final = 512 * 1024 * 1024
UTF_16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
CONTROL_CHARACTER: Final = re.compile("[\x00-\x08\x0e-\x1f]")
"""What no table holds: a file with one of them is not text."""


class Text(NamedTuple):
    """The lines, their ends kept (a quoted field may span some), and how they were read."""

    lines: list[str]
    encoding: str


def read_text(path: Path) -> Text:
    """Read a file as UTF-8 (with or without a mark), else as Windows-1252.

    The data set's older copies are Windows-1252, which nearly every byte string is: so control
    characters, which no table holds, are what tells a binary file.

    Raises:
        ConfigurationError: there is no such file, it can't be read, it is empty, too large, or
            not text.
    """
    content = _content(path)
    if content.startswith(UTF_16_MARKS):
        raise ConfigurationError(f"{path} is UTF-16: save it as UTF-8")
    text, encoding = _decoded(path, content)
    control = CONTROL_CHARACTER.search(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        raise ConfigurationError(
            f"{path} is not a text file: control character {control[0]!r} in line {line}"
        )
    if not text.strip():
        raise ConfigurationError(f"{path} is empty: it lacks even the header line")
    # Not splitlines(): that also ends lines at characters which a description may hold.
    return Text(list(StringIO(text, newline="")), encoding)


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigurationError(f"{path} is larger than {FILE_BYTES_MAX:,} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: there is no such file") from None
    except OSError as problem:
        raise ConfigurationError(f"{path} can't be read: {problem.strerror}") from problem


def _decoded(path: Path, content: bytes) -> tuple[str, str]:
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as not_utf_8:
        try:
            return content.decode("cp1252"), "cp1252"
        except UnicodeDecodeError as not_cp1252:
            raise ConfigurationError(
                f"{path} is neither UTF-8 (byte {not_utf_8.start}) nor Windows-1252"
                f" (byte {not_cp1252.start})"
            ) from None
