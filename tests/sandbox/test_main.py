"""`python -m sandbox` as a process."""

import gzip
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sandbox import __main__ as command
from sandbox import sample_prices
from tests.bounds import HANG_SECONDS


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """A sandbox in a process of its own; its address."""
    words = [sys.executable, "-m", "sandbox", "--port", "0", *arguments]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def test_it_answers_as_soon_as_it_says_so() -> None:
    with serving("--copies", "500", "--per-minute", "8", "--per-day", "800") as url:
        assert httpx.get(f"{url}/health", timeout=HANG_SECONDS).json() == {
            "status": "ok",
            "symbols": 500,
        }
        told = httpx.get(f"{url}/sandbox").json()
        assert told["plan"] == {"per_minute": 8, "per_day": 800}
        body = httpx.get(f"{url}/eod", params={"symbol": "S00499", "apikey": "k"}).json()
        assert body["datetime"] == "2022-12-28"


def test_a_port_that_is_taken_is_said_clearly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = [sys.executable, "-m", "sandbox", "--port", str(port)]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=HANG_SECONDS
        )
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_starting_loads_neither_pandas_nor_the_calendar() -> None:
    code = (
        "import sys; import sandbox.__main__ as m; m.sample_prices.sample();"
        "print(sorted({'pandas', 'numpy', 'exchange_calendars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_prices_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "universe.csv").write_text(
        "symbol,exchange,currency,name\nGOOG,NASDAQ,USD,Google\nX,NYSE,USD,Steel\nN,NYSE,USD,None\n"
    )
    (tmp_path / "long.csv").write_text(
        "Ticker,Date,Open,High,Low,Close,Volume\n"
        "GOOG,2004-08-20,101.01,109.08,100.5,108.31,22834300\n"
        "GOOG,2004-08-19,100,104.06,95.96,100.34,\n"
    )
    wide = gzip.compress(b"Date,X,Y\n2004-08-19,5.5,1\n2004-08-20,,1\n")
    (tmp_path / "wide.csv.gz").write_bytes(wide)

    listings = sample_prices.load(tmp_path)

    assert list(listings) == ["GOOG", "X", "N"]
    assert listings["GOOG"].bars == (
        sample_prices.Bar("2004-08-19", "100", "104.06", "95.96", "100.34", None),
        sample_prices.Bar("2004-08-20", "101.01", "109.08", "100.5", "108.31", "22834300"),
    )
    assert listings["X"].bars == (sample_prices.Bar("2004-08-19", "5.5", "5.5", "5.5", "5.5"),)
    assert listings["N"].bars == ()


def test_a_clock_without_a_time_zone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--clock", "2022-12-28T22:00:00"])
    assert "needs a time zone" in capsys.readouterr().err
