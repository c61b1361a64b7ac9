"""Files that are text are read; files that are not are named, with the reason."""

from __future__ import annotations

import pytest

from flashstock.errors import ConfigurationError
from flashstock.replay.text import read_text


def written(tmp_path, content: bytes):
    path = tmp_path / "day.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "lines", "encoding"),
    [
        (b"a\r\nb\n", ["a\r\n", "b\n"], "utf-8"),
        (b"\xef\xbb\xbfa\nb", ["a\n", "b"], "utf-8"),
        ("Crème\n".encode(), ["Crème\n"], "utf-8"),
        ("Crème £5\n".encode("cp1252"), ["Crème £5\n"], "cp1252"),
        ("a\u2028b\x0cc\n".encode(), ["a\u2028b\x0cc\n"], "utf-8"),
    ],
)
def test_text_is_read(tmp_path, content, lines, encoding):
    text = read_text(written(tmp_path, content))
    assert (text.lines, text.encoding) == (lines, encoding)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"a,b\n\x00\x01\n", "not a text file.*line 2"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not a text file"),
        ("a,b".encode("utf-16"), "UTF-16"),
        (b"a\n\xff\x81\n", r"neither UTF-8 \(byte 2\) nor Windows-1252 \(byte 3\)"),
    ],
)
def test_what_is_no_text_is_said_so(tmp_path, content, words):
    with pytest.raises(ConfigurationError, match=words):
        read_text(written(tmp_path, content))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.csv: there is no such file"):
        read_text(tmp_path / "nowhere.csv")


def test_a_directory_is_no_day(tmp_path):
    with pytest.raises(ConfigurationError, match="can't be read"):
        read_text(tmp_path)
