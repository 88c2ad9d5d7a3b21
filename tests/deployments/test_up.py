"""Which signals end a stack, however it was started."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

CODE = """
import signal
from deployments.up import stopped_by_signals
with stopped_by_signals():
    print("stays", flush=True)
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        print("stops in order", flush=True)
"""


@contextmanager
def started(*ignored: signal.Signals) -> Iterator["subprocess.Popen[str]"]:
    """A process that stays until it is stopped, started by one that ignores these."""
    words = " ".join(signum.name.removeprefix("SIG") for signum in ignored)
    ignore = f"trap '' {words}; " if words else ""
    shell = ["/bin/sh", "-c", f'{ignore}exec "$0" -c "$1"', sys.executable, CODE]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "stays\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_in_order(signum: signal.Signals) -> None:
    with started() as process:
        process.send_signal(signum)
        assert process.communicate() == ("stops in order\n", None)


@pytest.mark.parametrize("deaf_to", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_at_its_start_stays_so(deaf_to: signal.Signals) -> None:
    """As under `nohup`, and in the background of a script."""
    with started(deaf_to) as process:
        process.send_signal(deaf_to)
        with pytest.raises(subprocess.TimeoutExpired):  # it would have ended within milliseconds
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        assert process.communicate() == ("stops in order\n", None)
