from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantseq.errors import BarsError
from quantseq.market.notations import (
    Moments,
    decimal_mark,
    parse_dates,
    parse_numbers,
    plain_letters,
    sessions_of,
)
from tests.market.conftest import LAW


def column(*cells: str, name: str = "close") -> pd.Series:
    return pd.Series(cells, name=name, dtype=object)


def read(*cells: str) -> list[float]:
    mark = decimal_mark(column(*cells).to_frame())
    values, faults = parse_numbers(column(*cells), mark)
    assert not faults, faults
    return values.tolist()


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=9))
@LAW
def test_numbers_come_back_in_every_notation(values: list[float]) -> None:
    exact = np.round(values, 4)
    for form in ("{:.4f}", "{:,.4f}", " {:.4f} "):
        assert read(*[form.format(value) for value in exact]) == exact.tolist()
    swapped = [f"{value:,.4f}".translate(str.maketrans(",.", ".,")) for value in exact]
    assert read(*swapped) == exact.tolist()


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,12,550.00", "12,550.50"], [112550, 12550.5]),
        (["10'100.50", "9’900.25"], [10100.5, 9900.25]),
        (["7\u202f450,10", "7 411,68"], [7450.1, 7411.68]),
        (["€10", "$10.5", "£9", "¥1,234.5"], [10, 10.5, 9, 1234.5]),
        (["1.43M", "980.50K", "2B", "1.5 Mio."], [1.43e6, 980500, 2e9, 1.5e6]),
        (["144,89", "147,310"], [144.89, 147.31]),
        (["1.234.567", "2.000"], [1234567, 2000]),
        (["1.5", "1.234"], [1.5, 1.234]),
        (["-1", "−2", "+3", "1e-3"], [-1, -2, 3, 0.001]),
    ],
)
def test_people_write_numbers_so(cells: list[str], values: list[float]) -> None:
    assert read(*cells) == values


@pytest.mark.parametrize("cells", [["1,234"], ["12,5", "1.5"], ["1,234,567", "3,25"]])
def test_commas_that_may_mean_either_decide_nothing(cells: list[str]) -> None:
    assert decimal_mark(column(*cells).to_frame()) is None
    values, faults = parse_numbers(column("1,234", "5"), None)
    assert np.isnan(values).tolist() == [True, False]
    assert "say which with --decimal" in faults[0][1]


def test_what_is_no_number_is_a_fault_and_what_is_missing_none() -> None:
    values, faults = parse_numbers(column("1", "x", "", "null", "2,50", "--", "1,23,4"), ".")
    assert np.isnan(values).tolist() == [False, True, True, True, True, True, True]
    assert [at for at, _ in faults] == [1, 4, 6]
    assert faults[0][1] == "close is 'x', which is not a number"


def dates(*cells: str, order: str | None = None) -> list[str]:
    moments, faults = parse_dates(column(*cells), order)
    assert not faults, faults
    return [str(day) for day in moments.local.astype("datetime64[D]")]


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "2024-01-16",
            "2024/1/16",
            "20240116",
            "2024.01.16",
            "16 Jan 2024",
            "Jan 16, 2024",
            "16.01.2024",
        ),
        *(
            "1/16/2024 16:00:00",
            "20240116  16:00:00",
            "Tue, Jan 16, 2024",
            "16. Januar 2024",
            "16 janv. 2024",
        ),
        *(
            "16 de enero de 2024",
            "2024年1月16日",
            "45307",
            "1705363200",
            "1705363200000",
            "1705363200000000",
        ),
        *(
            "1705363200000000000",
            "2024-01-16T09:30:00-05:00",
            "1/16/24",
            "16-Jan-24",
            "16 märz 2024",
        ),
    ],
)
def test_people_write_dates_so(cell: str) -> None:
    assert dates(cell) == ["2024-03-16" if "märz" in cell else "2024-01-16"]


def test_one_order_holds_for_the_column() -> None:
    assert dates("02/01/2024", "16/01/2024") == ["2024-01-02", "2024-01-16"]
    assert dates("01/02/2024", "01/16/2024") == ["2024-01-02", "2024-01-16"]
    weekdays = [f"{day:02}/01/2024" for day in (2, 3, 4, 5, 8, 9, 10, 11, 12)]
    assert dates(*weekdays)[0] == "2024-01-02"  # with the month first some are Sundays
    assert dates("05/01/2024", order="dmy") == ["2024-01-05"]
    assert dates("24/01/16", "24/01/17", "24/01/18")[2] == "2024-01-18"
    assert dates("16/01/24", "17/01/24", "18/01/24")[2] == "2024-01-18"
    moments, faults = parse_dates(column("05/01/2024", "08/01/2024"))
    assert np.isnat(moments.local).all()
    assert "say it with --date-order" in faults[0][1]
    _, faults = parse_dates(column("30/01/2024", "01/30/2024"))
    assert "of another order" in faults[0][1]


@pytest.mark.parametrize(
    "cell", ["11:34", "2024-02-30", "Downloaded on 2024", "13/13/2024", "abc", "0"]
)
def test_what_is_no_date_is_a_fault_by_position(cell: str) -> None:
    moments, faults = parse_dates(column("2024-01-02", cell, cell, ""))
    assert [at for at, _ in faults] == [1, 2, 3]
    assert np.isnat(moments.local).tolist() == [False, True, True, True]


def utc(*texts: str) -> Moments:
    local = np.array(texts, dtype="datetime64[s]")
    return Moments(local, np.zeros(len(local)))


def days(moments: Moments, timezone: str = "") -> list[str]:
    return [str(day) for day in sessions_of(moments, timezone).astype("datetime64[D]")]


def test_utc_stamps_of_local_midnights_become_the_exchanges_session() -> None:
    frankfurt = utc("2023-08-10T22:00", "2023-08-13T22:00")
    assert days(frankfurt, "Europe/Berlin") == ["2023-08-11", "2023-08-14"]
    assert days(utc("2024-01-02T05:00"), "America/New_York") == ["2024-01-02"]


@pytest.mark.parametrize(
    "texts",
    [
        ["2023-08-10T22:00", "2023-08-13T22:00"],  # a Sunday that the next day would not be
        ["2024-01-01T21:00", "2024-01-02T21:00"],  # no weekday decides
    ],
)
def test_utc_stamps_that_may_belong_to_the_next_session_are_refused(texts: list[str]) -> None:
    with pytest.raises(BarsError, match="--timezone"):
        sessions_of(utc(*texts), "")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-01-02T05:00", "2024-01-03T05:00"], ["2024-01-02", "2024-01-03"]),
        (["2024-01-04T14:30", "2024-01-05T14:30"], ["2024-01-04", "2024-01-05"]),  # a Friday
        (["2024-01-05T00:00", "2024-01-06T00:00"], ["2024-01-05", "2024-01-06"]),
    ],
)
def test_utc_stamps_stand_where_their_weekdays_allow_it(
    texts: list[str], expected: list[Any]
) -> None:
    assert days(utc(*texts)) == expected


def test_letters_lose_their_accents() -> None:
    assert plain_letters("Eröffnung Clôture MÁXIMO") == "eroffnung cloture maximo"
