"""The user that PostgreSQL runs as if we are root: it refuses to run as root."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from autoindex.errors import ConfigurationError

# Numbers that no distribution gives to a person or a service; see docs/decisions/0012.
_OF_OUR_OWN: Final = range(60_578, 61_184)
# initdb asks for its user's name; the server does not, and gets a number without one.
_NAMED: Final = "nobody"
# By their bits in /proc/self/status. Containers have them unless somebody takes them away.
_NEEDED: Final = {"chown": 0, "dac_override": 1, "kill": 5, "setgid": 6, "setuid": 7, "setpcap": 8}
_WAY_OUT: Final = (
    f"give this container the capabilities {', '.join(_NEEDED)}, start it as an ordinary user, "
    "or set AUTOINDEX_DATABASE_URL"
)


def check_rights() -> None:
    """Raise `ConfigurationError` if we are root, and lack what the other functions need."""
    status = Path("/proc/self/status")
    if os.geteuid() != 0 or not status.exists():
        return
    (held,) = [line.split()[1] for line in status.read_text().splitlines() if "CapEff" in line]
    missing = [name for name, bit in _NEEDED.items() if not int(held, 16) >> bit & 1]
    if missing:
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and this root lacks {', '.join(missing)}: {_WAY_OUT}"
        )


def to_create(parent_death_signal: signal.Signals) -> list[str]:
    """The prefix of a command that creates a data folder; empty if we are not root."""
    if os.geteuid() != 0:
        return []
    return _words(pwd.getpwnam(_NAMED).pw_uid, parent_death_signal)


def to_serve(folder: Path, parent_death_signal: signal.Signals) -> list[str]:
    """The prefix of the server's command, which makes it run as the owner of its data.

    A folder of root's, or of the user that other services share, gets an owner of its own.
    """
    if os.geteuid() != 0:
        return []
    if folder.stat().st_uid in (0, pwd.getpwnam(_NAMED).pw_uid):
        _give(folder, _unused())
    return _words(folder.stat().st_uid, parent_death_signal)


def _unused() -> int:
    taken = {user.pw_uid for user in pwd.getpwall()}
    return next(number for number in _OF_OUR_OWN if number not in taken)


def _give(folder: Path, user: int) -> None:
    # The folder itself comes last: if this is interrupted, the next start repeats it.
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            os.chown(Path(parent) / name, user, user, follow_symlinks=False)
    os.chown(folder, user, user)


def _words(user: int, parent_death_signal: signal.Signals) -> list[str]:
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv is None:
        raise ConfigurationError(
            "PostgreSQL does not run as root and `setpriv` (package util-linux) is missing: "
            "install it, start it as an ordinary user, or set AUTOINDEX_DATABASE_URL"
        )
    words = [
        setpriv,
        *(f"--reuid={user}", f"--regid={user}", "--clear-groups"),
        # A checkout or a data folder may be below one that only root enters, as /root is. Without
        # the secure bit access(), which initdb asks, would not see the capability.
        "--securebits=+no_setuid_fixup",
        *("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"),
    ]
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise ConfigurationError(f"PostgreSQL does not run as root ({_line(tried)}): {_WAY_OUT}")
    # The kernel forgets the death signal when the user changes, so setpriv sets it last.
    name = signal.Signals(parent_death_signal).name.removeprefix("SIG")
    return [*words, f"--pdeathsig={name}", "--"]


def _line(tried: "subprocess.CompletedProcess[str]") -> str:
    return tried.stderr.strip() or f"setpriv ended with exit status {tried.returncode}"
