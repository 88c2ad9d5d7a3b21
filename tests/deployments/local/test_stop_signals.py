"""Which signals end a stack, however it was started."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

CODE = """
import signal
from deployments.local.stop_signals import stopped_by_signals
with stopped_by_signals():
    try:
        print("stays", flush=True)
        while True:
            signal.pause()
    except KeyboardInterrupt:
        print("stops in order", flush=True)
"""


@contextmanager
def started(*ignored: signal.Signals) -> Iterator["subprocess.Popen[str]"]:
    """A process that stays until it is stopped, started by one that ignores these."""

    def choose() -> None:  # whatever this process ignores, as in the background of a script
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN if signum in ignored else signal.SIG_DFL)

    words = [sys.executable, "-c", CODE]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=choose,  # noqa: PLW1509 - between fork and exec it only sets handlers
    ) as process:
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


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_at_its_start_stays_so(ignored: signal.Signals) -> None:
    """As under `nohup`, and in the background of a script."""
    with started(ignored) as process:
        process.send_signal(ignored)
        with pytest.raises(subprocess.TimeoutExpired):  # it would have ended within milliseconds
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        assert process.communicate() == ("stops in order\n", None)
