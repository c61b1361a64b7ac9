"""CSV in whatever dress, read exactly or refused by line."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.model import csv_rows as module
from flashstock.model.csv_rows import CsvRefused, plain_cell, read_csv, safe_cell, written_rows

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


def cells(table):
    return [list(row.cells.values()) for row in table.rows]


@pytest.mark.parametrize(
    "body",
    [
        b"sku,title\nA,hat\nB,cap\n",
        b"\xef\xbb\xbfSKU,Title\r\nA,hat\r\nB,cap",
        b"sku;title\r\nA;hat\r\n\r\n;\r\nB;cap\r\n",
        b"sku\ttitle\rA\that\rB\tcap\r",
        b'"sku" , "title"\nA,hat\nB,"cap"\n'.replace(b" , ", b","),
        b'\n"sku;with,one",title\nA,hat\nB,cap\n',
    ],
)
def test_one_table_in_many_dresses(body):
    assert cells(read_csv(body)) == [["A", "hat"], ["B", "cap"]]


def test_rows_know_the_line_they_begin_at():
    table = read_csv(b'sku,title\r\nA,"a hat\r\nof felt"\r\n\r\nB,cap\r\nC,"x\ny\nz"\r\nD,\r\n')
    assert [(row.line, row.cells["title"]) for row in table.rows] == [
        (2, "a hat\r\nof felt"),
        (5, "cap"),
        (6, "x\ny\nz"),
        (9, ""),
    ]


@pytest.mark.parametrize(
    ("body", "line", "column", "words"),
    [
        (b"", 1, "", "empty"),
        (b"\n\n", 1, "", "empty"),
        (b"sku\nA\n\xff\n", 3, "", "0xff is not UTF-8"),
        (b"sku\nA\nB\0\n", 3, "", "NUL"),
        ("sku\nA\n".encode("utf-16"), 1, "", "UTF-16"),
        (b"sku,title\nA\n", 2, "", "1 cells"),
        (b"sku\nA\nB,C\n", 3, "", "2 cells"),
        (b"sku,SKU \nA,B\n", 1, "sku", "twice"),
        (b"sku,,x\nA,B,C\n", 1, "", "column 2 has no name"),
        (b'sku\n"A\nB\n', 3, "", "not CSV"),
        (b'sku\nA\n"B"C\n', 3, "", "not CSV"),
    ],
)
def test_what_is_refused_says_where(body, line, column, words):
    with pytest.raises(CsvRefused) as refused:
        read_csv(body)
    [problem] = refused.value.problems
    assert (problem.line, problem.column) == (line, column)
    assert words in problem.problem


def test_rows_columns_and_complaints_are_bounded():
    with pytest.raises(CsvRefused, match="more than 2 rows"):
        read_csv(b"sku\nA\nB\nC\n", rows_max=2)
    assert len(read_csv(b"sku\nA\nB\n", rows_max=2).rows) == 2
    with pytest.raises(CsvRefused, match="columns"):
        read_csv(",".join(f"c{n}" for n in range(module.COLUMNS_MAX + 1)).encode())
    with pytest.raises(CsvRefused) as refused:
        read_csv(b"sku\n" + b"A,B\n" * 1_000)
    assert len(refused.value.problems) == module.PROBLEMS_SHOWN_MAX
    assert refused.value.count == 1_000
    with pytest.raises(CsvRefused, match="not CSV"):
        read_csv(b"sku\n" + b"A" * (csv.field_size_limit() + 1))


@given(rows=st.lists(st.lists(texts, min_size=3, max_size=3), max_size=8))
def test_what_is_written_is_read(rows):
    kept = [row for row in rows if any(safe_cell(cell).strip() for cell in row)]
    table = read_csv(written_rows([["a", "b", "c"], *rows]).encode())
    assert cells(table) == kept


@given(text=st.one_of(texts, texts.map(lambda text: "'=" + text), texts.map(lambda t: "''-" + t)))
def test_no_cell_is_a_formula_and_none_is_changed(text):
    written = safe_cell(text)
    assert written[:1] not in tuple("=+-@\t\r")
    assert plain_cell(written) == text


@pytest.mark.parametrize("text", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\tx", "\rx", "'=x"])
def test_formulas_are_shielded(text):
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "A", "'A", "1-2", "a=b", "it's"])
def test_everything_else_is_left_alone(text):
    assert safe_cell(text) == plain_cell(text) == text


def test_numbers_are_numbers():
    assert written_rows([[-5, None, "-5"]]) == "-5,,'-5\r\n"
