"""Records become rows or get a reason; whatever the file holds, nothing crashes or is lost."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashstock.errors import ConfigurationError
from flashstock.replay.rows import BadRow, Row, parse_rows
from tests.unit.replay.days import HEADER, lines, row


def parsed(*rows: str) -> list[Row | BadRow]:
    return list(parse_rows(lines(rows)))


def test_a_row_is_read():
    assert parsed(row()) == [
        Row(
            line=2,
            invoice="1",
            stock_code="85123A",
            quantity=6,
            at=datetime(2010, 12, 1, 8, 26, tzinfo=UTC),
            unit_price=Decimal("2.55"),
            buyer="17850",
            description="WHITE HANGING HEART",
            country="United Kingdom",
        )
    ]


def test_a_day_may_lack_descriptions_and_countries():
    header = "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID"
    (read,) = parse_rows(lines(["1,85123A,6,2010-12-01 08:26:00,2.55,17850.0"], header))
    assert isinstance(read, Row)
    assert (read.description, read.country, read.buyer) == ("", "", "17850")


@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        ({"quantity": "2000"}, "quantity", 2_000),
        ({"quantity": "-12"}, "quantity", -12),
        ({"quantity": "6.0"}, "quantity", 6),
        ({"price": "-11062.06"}, "unit_price", Decimal("-11062.06")),
        ({"price": "0"}, "unit_price", Decimal(0)),
        ({"buyer": ""}, "buyer", ""),
        ({"buyer": " 12x "}, "buyer", "12x"),
        ({"invoice": " C536379 "}, "invoice", "C536379"),
        ({"at": "2010-12-01T10:26:00+02:00"}, "at", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        ({"description": '"A, ""QUOTED"" ONE"'}, "quantity", 6),
        ({"description": '"TWO\nLINES"'}, "quantity", 6),
    ],
)
def test_real_values_are_taken(change, name, value):
    (read,) = parsed(row(**change))
    assert isinstance(read, Row)
    assert getattr(read, name) == value


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(quantity="six"), "bad_quantity"),
        (row(quantity="1.5"), "bad_quantity"),
        (row(quantity=""), "bad_quantity"),
        (row(quantity="9" * 13), "bad_quantity"),
        (row(quantity="1_0"), "bad_quantity"),
        (row(quantity="٣"), "bad_quantity"),
        (row(price="free"), "bad_price"),
        (row(price="nan"), "bad_price"),
        (row(price="inf"), "bad_price"),
        (row(price=""), "bad_price"),
        (row(at="1/12/2010 8:26"), "bad_date"),
        (row(at="2010-13-01 08:26:00"), "bad_date"),
        (row(at="0001-01-01 00:00:00+05:00"), "bad_date"),
        (row(at=""), "bad_date"),
        (row(invoice=""), "missing_field"),
        (row(code=" "), "missing_field"),
        ("1,2,3", "malformed_row"),
        (row() + ",more", "malformed_row"),
        (row(description='"never closed'), "malformed_row"),
        (row(description='"a"b'), "malformed_row"),
    ],
)
def test_a_bad_row_has_a_reason_and_spoils_no_other(bad, reason):
    before, found, after = parsed(row(invoice="1"), bad, row(invoice="3"))
    assert found == BadRow(3, reason)
    assert isinstance(before, Row)
    assert isinstance(after, Row)
    assert after.line == 4


def test_an_unclosed_quote_swallows_one_line_and_not_the_day():
    rows = [row(description='"never closed'), *(row(invoice=str(n)) for n in range(500))]
    found = parsed(*rows)
    assert [kind for kind in found if isinstance(kind, BadRow)] == [BadRow(2, "malformed_row")]
    assert len(found) == 501


def test_blank_lines_are_no_rows():
    assert len(list(parse_rows([*lines([row()]), "\n", "  \n"]))) == 1


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (HEADER.replace("UnitPrice", "Price"), "lacks UnitPrice; it has InvoiceNo, StockCode"),
        (HEADER.replace(",", ";"), "lacks InvoiceNo, StockCode, Quantity, InvoiceDate"),
        ("a,b", "lacks InvoiceNo"),
        ('"never closed', "lacks InvoiceNo"),
        (HEADER + ",Quantity", "names Quantity more than once"),
    ],
)
def test_a_wrong_header_is_told(header, words):
    with pytest.raises(ConfigurationError, match=words):
        list(parse_rows(lines([row()], header)))


def test_columns_may_stand_in_any_order_with_others_among_them():
    names = ["Extra", "CustomerID", "UnitPrice", "InvoiceDate", "Quantity", "StockCode"]
    header = ",".join([*names, " InvoiceNo "])
    (read,) = parse_rows([header + "\n", "x,7.0,1.5,2010-12-01 08:26:00,3,22423,9\n"])
    assert isinstance(read, Row)
    assert (read.invoice, read.stock_code, read.buyer) == ("9", "22423", "7")


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@given(st.lists(st.lists(cells, min_size=1, max_size=9), max_size=8))
def test_whatever_a_table_holds_every_record_is_a_row_or_has_a_reason(table):
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([HEADER.split(","), *table])
    stream.seek(0)
    for read in parse_rows(list(stream)):
        assert isinstance(read, Row) or read.reason


@given(st.lists(st.text(st.sampled_from('1,"\n\r;- .C'), max_size=20), max_size=8))
def test_whatever_the_lines_hold_it_ends_without_a_crash(made):
    stream = io.StringIO("".join(lines(made)), newline="")
    for read in parse_rows(list(stream)):
        assert isinstance(read, Row) or read.reason
