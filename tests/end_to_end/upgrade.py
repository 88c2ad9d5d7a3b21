"""Upgrade a running installation, part by part, under load, as the operators' guide says.

    python -m tests.end_to_end.upgrade [--from COMMIT]

Two facades and two workers of the old version serve requests. The new version migrates the tables,
its workers take over, and the facades are restarted one by one. Nothing may be lost: every task
ends as a success, every request is answered or told when to try again, and levels, tokens, links
and an operator's schedules are what they were. Both versions run in this environment, which has to
suit both. Without `--from` it is this version that takes over from itself.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from benchmarks.table import say
from tests.end_to_end.installation import CLI, Installation, Load, is_ok, until
from worker.prefect_yaml import PROJECT


class Kept:
    """What has to be the same afterwards."""

    def __init__(self, installation: Installation, load: Load) -> None:
        self._installation = installation
        self._load = load
        self._task = load.run("generate-report", {"report_type": "monthly", "format": "pdf"})
        self._before = self._read()

    def _read(self) -> Mapping[str, Any]:
        link = self._load.status(self._task)["result"]["file"]
        with self._installation.prefect() as prefect:
            found = prefect.post("deployments/filter", json={}).raise_for_status().json()
        schedules = {
            one["name"]: (one["paused"], [(s["active"], s["schedule"]) for s in one["schedules"]])
            for one in found
        }
        levels = self._installation.rows(
            "select strategy, frequency, session, level from index_levels "
            "where strategy = 'composite' order by 1, 2, 3"
        )
        report = self._load.request("GET", httpx.URL(link).raw_path.decode())
        return {
            "levels": levels,
            "report": (report.status_code, report.content),
            "schedules": schedules,
        }

    def changed(self) -> list[str]:
        """What is not as it was."""
        after = self._read()
        return [name for name, value in self._before.items() if after[name] != value]


def _operate(installation: Installation) -> None:
    """Pause a deployment and move the schedule of another, as an operator does."""
    with installation.prefect() as prefect:
        found = prefect.post("deployments/filter", json={}).raise_for_status().json()
        by_name = {one["name"]: one for one in found}
        where = f"deployments/{by_name['report']['id']}/pause_deployment"
        prefect.post(where).raise_for_status()
        moved = by_name["cleanup"]
        (schedule,) = moved["schedules"]
        changed = schedule["schedule"] | {"cron": "7 3 * * 0"}
        where = f"deployments/{moved['id']}/schedules/{schedule['id']}"
        prefect.patch(where, json={"schedule": changed}).raise_for_status()


def rehearse(installation: Installation, old: Path, new: Path) -> list[str]:
    """Install the old version, upgrade it under load; what went wrong."""
    installation.prefect_server("prefect", installation.settings.prefect_port)
    installation.set_up(old)
    workers = [installation.worker(old) for _ in range(2)]
    facades = [installation.facade(old, number) for number in range(2)]
    until(lambda: is_ok(f"http://127.0.0.1:{installation.ports[0]}/ready"))
    load = Load(installation)
    load.run("refresh", {"mode": "full"})
    _operate(installation)
    kept = Kept(installation, load)
    with load:
        time.sleep(10)
        say(installation.command(new, CLI, "bootstrap"))
        began = time.monotonic()
        newer = [installation.worker(new) for _ in range(2)]
        for worker in workers:
            worker.stop(90)
        say(f"the old workers have stopped after {time.monotonic() - began:.0f} s")
        for number, facade in enumerate(facades):
            facade.stop(60)
            facades[number] = installation.facade(new, number)
            say(f"facade {number} is of the new version")
        time.sleep(10)
    ends = load.ended()
    for worker in newer:
        worker.check_alive()
    for how, times in sorted((load.answers + ends).items()):
        say(f"{times:>6} {how}")
    wrong = [how for how in ends if how.split()[1] != "success"]
    wrong += [how for how in load.answers if not how.startswith("2") and "," not in how]
    return [*wrong, *(f"{name} changed" for name in kept.changed())]


@contextmanager
def _version(commit: str | None) -> Iterator[Path]:
    """The files of a commit; this version's where it is None."""
    if commit is None:
        yield PROJECT
        return
    with TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=PROJECT, check=True, stdout=-1)
        subprocess.run(
            ["tar", "--extract", "--directory", folder], input=archive.stdout, check=True
        )
        yield Path(folder)


def main() -> int:
    """Rehearse, and print what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.upgrade", description=__doc__)
    parser.add_argument("--from", dest="commit", help="the old version; this one if not given")
    chosen = parser.parse_args()
    os.umask(0o077)
    with (
        TemporaryDirectory() as folder,
        _version(chosen.commit) as old,
        ExitStack() as parts,
    ):
        wrong: Sequence[str] = rehearse(Installation(Path(folder).resolve(), parts), old, PROJECT)
    say("\n".join(wrong) or "nothing was lost, and nothing has changed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
