"""A universe's file: read as spreadsheets write it, or refused by line and column."""

import os
from datetime import date
from pathlib import Path

import pytest

from autoindex.errors import InvalidRequest
from autoindex.storage.universe import universe_file
from autoindex.storage.universe.memberships import Member

CASES = Path(__file__).parent / "universes"
HEAD = "symbol,exchange,currency,name,sector,shares_outstanding,shares_outstanding_date,role,active"
GE = "GE,NYSE,USD,General Electric,Industrials,1089000000,2022-12-31,constituent,true"
KO = "KO,NYSE,USD,Coca-Cola,,,,,"
SPY = "SPY,NYSE,USD,SPDR,,,,benchmark,true"
DEEP = "9" * 20


def written(folder: Path, *lines: str) -> Path:
    file = folder / "stocks.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def shares(number: str, day: str = "2022-12-31") -> str:
    return f'KO,NYSE,USD,Coca-Cola,,"{number}",{day},,'


def member(symbol: str, **changed: object) -> Member:
    values = {
        "id": 1, "symbol": symbol, "exchange": "NYSE", "currency": "USD", "name": symbol,
        "sector": None, "prices_kept_from": None,
        "role": "constituent", "first": date.min, "last": date.max,
    }  # fmt: skip
    return Member(**(values | changed))  # type: ignore[arg-type]


def refusal(path: Path, stored: list[Member] | None = None) -> str:
    with pytest.raises(InvalidRequest) as refused:
        universe_file.read(path, stored or [])
    return str(refused.value)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["# not a universe"], "stocks.csv: the first line must name the columns; it lacks symbol"),
        (["symbol,exchange,name", "GE,NYSE,GE"], "it lacks currency"),
        ([f"{HEAD},ISIN", f"{GE},US36"], "it has 'isin' (there are symbol, exchange"),
        ([f"{HEAD},symbol", f"{GE},GE"], "it repeats symbol"),
        ([""], "it lacks symbol"),
        ([HEAD], "stocks.csv: has no rows"),
        ([HEAD, "", ",,,,,,,,"], "stocks.csv: has no rows"),
        ([HEAD, GE, "ge,NYSE,USD,GE,,,,,"], "line 3, column symbol: must be a ticker in capitals"),
        ([HEAD, "KO,NYSE,usd,KO,,,,,"], "line 2, column currency: must be the code of a currency"),
        ([HEAD, "KO,,USD,KO,,,,,"], "line 2, column exchange: is empty"),
        ([HEAD, "KO,N\0YSE,USD,KO,,,,,"], "line 2, column exchange: String should have printable"),
        ([HEAD, "KO,NYSE,USD,KO,,,,owner,"], "line 2, column role: must be constituent or bench"),
        ([HEAD, "KO,NYSE,USD,KO,,,,,perhaps"], "line 2, column active: must be true or false"),
        *[
            ([HEAD, GE, shares(number)], "line 3, column shares_outstanding: ")
            for number in (
                "0", "-1", "nan", "inf", "1e400", "1.5", DEEP, "9" * 5_000, "1,2,3", "1.234.567",
                "1234,567", "1.58E+10", "٣", "x",
            )
        ],
        *[
            ([HEAD, shares("9", day)], "line 2, column shares_outstanding_date: ")
            for day in ("", "0", "9999-12-31", "0001-01-01", "31.12.2022", "2022-02-30", "20221231")
        ],
        ([HEAD, GE, f"{KO},more"], "line 3: has more values than there are columns (9)"),
        ([HEAD, GE, "KO,NYSE,USD,Coca-Cola"], "line 3: has fewer values than there are columns"),
        ([f"{HEAD},", f"{GE},x"], "line 2: has a value in a column without a name"),
        ([HEAD, GE, KO, GE], "line 4, column symbol: GE stands twice, in line 2 too"),
        ([HEAD, GE, f"KO,NYSE,USD,{'W' * 201},,,,,"], "line 3, column name: String should have at"),
        ([HEAD, f"KO,NYSE,USD,KO,{'W' * 81},,,,"], "line 2, column sector: String should have at"),
        ([HEAD, "KO,NYSE,USD,Co\x07ca,,,,,"], "line 2, column name: String should have printable"),
        ([HEAD, "KO,NYSE,USD,KO,\u202eFood,,,,"], r"characters only, not '\u202e'"),
        ([HEAD, f"KO,NYSE,USD,{'W' * 200_000},,,,,"], "line 2: can't be read: field larger than"),
        ([HEAD, GE, 'KO,NYSE,USD,"Coca-Cola,,,,,', SPY], "line 3: can't be read: unexpected end"),
        ([HEAD, SPY, SPY.replace("SPY", "SPX")], "line 3, column role: SPY is the benchmark"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_line_and_column(
    tmp_path: Path, lines: list[str], reason: str
) -> None:
    assert reason in refusal(written(tmp_path, *lines))


def test_every_wrong_line_is_named_at_once_up_to_ten(tmp_path: Path) -> None:
    few = refusal(written(tmp_path, HEAD, "ko,NYSE,USD,KO,,,,,", GE, "PG,NYSE,USD,,,,,,"))
    assert [one.partition(":")[0] for one in few.removeprefix("stocks.csv: ").split("\n")] == [
        "line 2, column symbol",
        "line 4, column name",
    ]
    many = refusal(written(tmp_path, HEAD, *["ko,NYSE,USD,KO,,,,,"] * 25))
    assert many.count("column symbol") == 10
    assert many.endswith("and 15 more")


@pytest.mark.parametrize(
    ("case", "name", "count"),
    [("semicolons", "Apple Inc.", 15_800_000_000), ("thousands", "Apple Inc.", 15_800_000_000)],
)
def test_what_spreadsheets_save_is_read(case: str, name: str, count: int) -> None:
    (row,) = universe_file.read(CASES / f"{case}.csv")
    assert (row.name, row.shares_outstanding) == (name, count)
    assert row.shares_outstanding_date == date(2022, 12, 31)


def test_another_encoding_is_named_by_its_line() -> None:
    said = refusal(CASES / "windows1252.csv")
    assert "line 2, column name: is not UTF-8" in said


def test_three_currencies_are_refused_by_line() -> None:
    first, second = refusal(CASES / "mixed.csv").split("\n")
    assert first == "mixed.csv: line 3, column currency: is GBP, but the universe is in USD"
    assert second.startswith("line 4, ")


def test_what_is_stored_counts_too(tmp_path: Path) -> None:
    assert universe_file.read(CASES / "pence.csv")[0].currency == "GBP"
    assert "in USD" in refusal(CASES / "pence.csv", [member("GE")])
    assert universe_file.read(CASES / "pence.csv", [])
    spx = member("SPX", role="benchmark")
    file = written(tmp_path, HEAD, SPY)
    assert "line 2, column role: SPX is the benchmark" in refusal(file, [spx])
    assert universe_file.read(written(tmp_path, HEAD, SPY, "SPX,NYSE,USD,S,,,,,"), [spx])


def test_an_exchange_with_other_sessions_is_refused_by_line(tmp_path: Path) -> None:
    file = written(
        tmp_path, HEAD, GE, "VOD,LSE,USD,V,,,,,", "SPX,INDEX,USD,S,,,,,", "6758,JPX,JPY,S,,,,,"
    )
    with pytest.raises(InvalidRequest) as refused:
        universe_file.read(file, calendar="XNYS")
    first, second = str(refused.value).split("\n")
    assert first == (
        "stocks.csv: line 3, column exchange: LSE does not trade by the calendar XNYS "
        "(AUTOINDEX_CALENDAR)"
    )
    assert second == "line 5, column currency: is JPY, but the universe is in USD"
    assert universe_file.read(CASES / "pence.csv", calendar="XLON")


def test_minor_units_are_currencies_of_their_own(tmp_path: Path) -> None:
    pence = written(tmp_path, HEAD, "VOD,LSE,GBp,Vodafone,,,,,")
    assert universe_file.read(pence)[0].currency == "GBp"
    assert "is GBp, but the universe is in GBP" in refusal(pence, [member("BP", currency="GBP")])


@pytest.mark.parametrize("symbol", ["7203", "0700", "005930", "1COV", "600519"])
def test_symbols_may_begin_with_a_digit(tmp_path: Path, symbol: str) -> None:
    (row,) = universe_file.read(written(tmp_path, HEAD, f"{symbol},JPX,JPY,Name,,,,,"))
    assert row.symbol == symbol


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_line_ends_and_separators_are_recognised(
    tmp_path: Path, encoding: str, end: str, separator: str
) -> None:
    lines = [f"{HEAD},", f" {GE} ,", SPY.upper().replace("TRUE", "true") + ",", "", "," * 9, ""]
    text = end.join(lines).replace(",", separator)
    le = encoding == "utf-16-le-bom"
    file = tmp_path / "stocks.csv"
    file.write_bytes(b"\xff\xfe" + text.encode("utf-16-le") if le else text.encode(encoding))
    rows = universe_file.read(file)
    assert [(row.symbol, row.role) for row in rows] == [("GE", "constituent"), ("SPY", "benchmark")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04rest", "is a workbook"),
        (b"\xd0\xcf\x11\xe0rest", "is a workbook"),
        (HEAD.encode("utf-16-be"), "is no text in UTF-8"),
        (b"\xff\xfeabc", "is no text in UTF-8"),
        (b"\x89PNG\r\n", "the first line must name the columns"),
        (b"", "the first line must name the columns"),
        (
            f"{HEAD}\n".encode() + b"KO,NYSE,USD,\xed\xa0\x80,,,,,",
            "line 2, column name: is not UTF",
        ),
    ],
)
def test_what_is_no_csv_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "stocks.csv"
    file.write_bytes(content)
    assert reason in refusal(file)


def test_what_has_no_end_or_is_no_file_is_not_read(tmp_path: Path) -> None:
    large, fifo = tmp_path / "large.csv", tmp_path / "fifo.csv"
    with large.open("wb") as file:
        file.truncate(2**30)
    os.mkfifo(fifo)
    assert refusal(large) == "large.csv: is larger than 10 MB"
    assert refusal(fifo) == "fifo.csv: is no file"
    assert refusal(Path("/dev/zero")) == "zero: is no file"
    assert refusal(tmp_path).endswith("is no file")
    assert (
        refusal(tmp_path / "nobody.csv") == "nobody.csv: can't be read: No such file or directory"
    )
