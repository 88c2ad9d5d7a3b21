"""The worker, as its operator and its runs see it: real processes, a real Prefect server."""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import pytest
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Crashed, Pending, Scheduled
from prefect.workers.base import BaseVariables
from sqlalchemy import create_engine, text

from autoindex.settings import Settings
from autoindex.storage.runs import worker_notify
from deployments.local.embedded_postgres import EmbeddedPostgres
from flows.visibility import events
from tests.bounds import HANG_SECONDS
from tests.pgbouncer import pgbouncer
from tests.relay import Relay
from tests.troubled_proxy import TroubledProxy
from tests.worker.worker_flows import said
from tests.worker.workers import Started, Yard, alive, yard

pytestmark = pytest.mark.chaos

_numbers = count(1)
LEASE_SECONDS = 4.0
# A worker once waited ten seconds for the answer to an order.
STALLED_SECONDS = 11.0


@pytest.fixture(scope="module")
def one_yard(
    lean_prefect_api: str,
    module_database_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("worker")
    settings = Settings(
        database_url=module_database_url,  # type: ignore[arg-type]
        data_dir=folder / "var",
        lease_seconds=LEASE_SECONDS,
        retry_delay_seconds=6,
        drain_seconds=5,
    )
    with yard(lean_prefect_api, settings, folder, "worker-yard") as made:
        yield made


@pytest.fixture
def worker(one_yard: Yard) -> Started:
    """A worker that may have run other tests' runs, but runs none now."""
    for one in one_yard.started:
        if one.process.poll() is None:
            return one
    return one_yard.start()


@pytest.fixture
def note(one_yard: Yard) -> str:
    return one_yard.note(f"note-{next(_numbers)}")


def pid(one_yard: Yard, note: str, attempt: int = 1) -> int:
    one_yard.until(lambda: len(said(note)) >= attempt, what=f"attempt {attempt}")
    return int(said(note)[attempt - 1]["pid"])


@pytest.mark.usefixtures("worker")
def test_a_run_is_a_fork_of_the_zygote_in_which_everything_is_loaded(
    one_yard: Yard, worker: Started, note: str
) -> None:
    run_id = one_yard.post("look_around", note=note)
    one_yard.until_state(run_id, "Completed")
    (seen,) = said(note)
    assert seen["ppid"] == worker.zygote().pid
    assert seen["loaded"]
    assert seen["session"] == seen["pid"]
    assert len(list(Path(f"/proc/{seen['ppid']}/task").iterdir())) == 1
    # On a busy machine Prefect may call it late before it is claimed.
    states = [state for state in one_yard.states(run_id) if state != "Late"]
    assert states == ["Scheduled", "Pending", "Running", "Completed"]


def test_a_worker_says_that_it_is_here(one_yard: Yard, worker: Started) -> None:
    assert worker.process.poll() is None
    pool = one_yard.client.read_work_pool(one_yard.pool)
    asked = {
        "event": {"name": [events.WORKER_STARTED]},
        "resource": {"id": [events.pool_resource(pool.id)]},
    }

    def heard() -> bool:
        found = one_yard.client.request("POST", "/events/filter", json={"filter": asked})
        return bool(found.json()["events"])

    one_yard.until(heard, what="the worker's event")


@pytest.mark.usefixtures("worker")
def test_a_run_that_takes_too_much_memory_fails_and_says_so(one_yard: Yard, note: str) -> None:
    run_id = one_yard.post("hoard", {"memory_limit_mb": 100}, note=note)
    state = one_yard.until_state(run_id, "LimitExceeded").state
    assert state is not None
    assert state.is_failed()
    assert str(state.message).startswith("memory limit of 100 MB exceeded: 1")
    assert said(note)[-1]["mb"] < 300
    one_yard.until(lambda: said(note + ".hook"), what="the failure hook")
    assert said(note + ".hook")[0]["message"] == state.message


@pytest.mark.usefixtures("worker")
def test_what_is_asked_for_at_once_meets_the_limit_too(one_yard: Yard, note: str) -> None:
    run_id = one_yard.post("ask_for_too_much", {"memory_limit_mb": 100}, note=note)
    state = one_yard.until_state(run_id, "Failed", "LimitExceeded").state
    assert state is not None
    assert "memory limit of 100 MB exceeded" in str(state.message)


@pytest.mark.usefixtures("worker")
def test_time_limits_are_felt_softly_then_hard(one_yard: Yard, note: str) -> None:
    soft, hard = {"soft_time_limit_seconds": 6}, {"hard_time_limit_seconds": 9}
    limits = {
        "sleep": soft,
        "query_for_long": soft,
        "finish_what_is_begun": soft,
        "compute_in_c": soft | hard,
    }
    runs = {
        name: one_yard.post(name, limit, note=f"{note}.{name}") for name, limit in limits.items()
    }
    messages = {
        name: str(one_yard.until_state(run_id, "Failed", "LimitExceeded").state)
        for name, run_id in runs.items()
    }
    for name in ("sleep", "query_for_long", "finish_what_is_begun"):
        assert "SoftTimeLimit: soft time limit of 6 s reached" in messages[name]
    # One whose work has not begun within 6 s, on a busy machine, feels the limit before it.
    assert len(said(f"{note}.query_for_long")) <= 1
    if said(f"{note}.compute_in_c"):
        assert "hard time limit of 9 s exceeded" in messages["compute_in_c"]
    if begun := said(f"{note}.finish_what_is_begun"):
        assert begun[-1].get("finished")


@pytest.mark.usefixtures("worker")
def test_a_cancelled_run_is_gone_within_five_seconds_even_in_c(one_yard: Yard, note: str) -> None:
    run_id = one_yard.post("compute_in_c", note=note)
    process = pid(one_yard, note)
    began = time.monotonic()
    one_yard.cancel(run_id)
    one_yard.until_state(run_id, "Cancelled")
    assert not alive([process])
    # Not a bound on speed: without a kill it would take Prefect's own 300 seconds.
    assert time.monotonic() - began < 120


@pytest.mark.parametrize(
    "job",
    [{"command": "id"}, {"env": {"PYTHONPATH": "/tmp"}}, {"env.LD_PRELOAD": "x.so"}, {"name": "a"}],  # noqa: S108
    ids=lambda job: str(*job),
)
def test_a_run_may_name_its_limits_and_nothing_else(one_yard: Yard, job: dict[str, str]) -> None:
    with pytest.raises(PrefectHTTPStatusError) as refused:
        one_yard.post("look_around", job, note="never written")
    assert refused.value.response.status_code == 422
    reason = refused.value.response.json()["detail"]
    assert f"Additional properties are not allowed ('{next(iter(job))}' was unexpected)" in reason


@pytest.mark.usefixtures("worker")
def test_a_run_whose_process_dies_goes_on_under_its_id(one_yard: Yard, note: str) -> None:
    run_id = one_yard.post("sleep_on_second_attempt", note=note)
    psutil.Process(pid(one_yard, note)).kill()
    one_yard.until_state(run_id, "Completed")
    assert len(said(note)) == 2
    assert "AwaitingRetry" in one_yard.states(run_id)
    assert "Crashed" not in one_yard.states(run_id)


@pytest.mark.usefixtures("worker")
def test_a_run_that_dies_every_time_fails_with_the_story(one_yard: Yard, note: str) -> None:
    run_id = one_yard.post("sleep", note=note)
    for attempt in range(1, 5):
        psutil.Process(pid(one_yard, note, attempt)).kill()
    state = one_yard.until_state(run_id, "Lost").state
    assert state is not None
    assert state.is_failed()
    assert state.message == "its process ended with SIGKILL; 3 earlier attempts were lost, too"
    one_yard.until(lambda: said(note + ".hook"), what="the failure hook")


@pytest.mark.usefixtures("worker")
def test_a_run_that_prefect_calls_crashed_goes_on_under_its_id(one_yard: Yard, note: str) -> None:
    run_id = one_yard.post("sleep_on_second_attempt", note=note)
    process = psutil.Process(pid(one_yard, note))
    one_yard.client.set_flow_run_state(run_id, Crashed(message="interrupted"), force=True)
    process.kill()
    one_yard.until_state(run_id, "Completed")
    assert "interrupted; attempt 2 of 4 follows" in str(
        one_yard.client.read_flow_run_states(run_id)
    )


@pytest.mark.usefixtures("worker")
def test_a_run_that_was_claimed_and_never_begun_is_sent_round_again(
    one_yard: Yard, note: str
) -> None:
    flow_run = one_yard.client.create_flow_run_from_deployment(
        one_yard.read(one_yard.post("look_around", note=note + ".first")).deployment_id,  # type: ignore[arg-type]
        parameters={"note": note},
        state=Pending(),
    )
    one_yard.until_state(flow_run.id, "Completed")


@pytest.mark.usefixtures("worker")
def test_a_claim_that_comes_after_the_end_changes_nothing(one_yard: Yard, note: str) -> None:
    run_id = one_yard.post("look_around", note=note)
    one_yard.until_state(run_id, "Completed")
    # As from a worker that was cut off in between: Prefect allows it.
    one_yard.client.set_flow_run_state(run_id, Pending())
    # Perhaps it has been put back already.
    assert one_yard.states(run_id).count("Pending") >= 2
    one_yard.until_state(run_id, "Completed")
    assert len(said(note)) == 1, one_yard.client.read_flow_run_states(run_id)
    # An operator may very well have it run again.
    one_yard.client.set_flow_run_state(run_id, Scheduled(), force=True)
    one_yard.until(lambda: len(said(note)) == 2, what="another run")
    one_yard.until_state(run_id, "Completed")


@pytest.mark.usefixtures("worker")
def test_waiting_for_a_retry_holds_no_slot_and_ends_in_success(one_yard: Yard, note: str) -> None:
    run_id = one_yard.post("fail_at_first", note=note, failures=2)
    waiting = one_yard.until_state(run_id, "AwaitingRetry")
    assert waiting.state is not None
    assert waiting.state.message == "ask: the provider is busy; retry 1 of 3"
    one_yard.until(lambda: not alive([said(note)[0]["pid"]]), what="the end of the process")
    one_yard.until_state(run_id, "Completed")
    assert len(said(note)) == 3


@pytest.mark.usefixtures("worker")
def test_waiting_for_another_task_holds_no_slot_and_costs_no_retry(
    one_yard: Yard, note: str
) -> None:
    first = one_yard.post("work_alone", note=note + ".first")
    pid(one_yard, note + ".first")
    second = one_yard.post("work_alone", note=note + ".second")
    state = one_yard.until_state(second, "AwaitingTurn").state
    assert state is not None
    assert state.message == "another lonely task is under way; waits for its turn"
    for one in (".first", ".second"):
        Path(note + one + ".go").touch()
    for run_id in (first, second):
        one_yard.until_state(run_id, "Completed")
    assert len(said(note + ".second")) == 1


@pytest.mark.usefixtures("worker")
def test_a_zygote_that_dies_takes_its_runs_along_and_all_goes_on(
    one_yard: Yard, worker: Started, note: str
) -> None:
    run_id = one_yard.post("sleep_on_second_attempt", note=note)
    process = pid(one_yard, note)
    before = worker.zygote()
    before.kill()
    one_yard.until_state(run_id, "Completed")
    assert not alive([process])
    assert worker.zygote().pid != before.pid
    assert said(note)[1]["ppid"] == worker.zygote().pid


@pytest.mark.parametrize("victim", ["run", "zygote", "worker"])
def test_what_a_run_has_started_ends_with_it(
    one_yard: Yard, worker: Started, note: str, victim: str
) -> None:
    run_id = one_yard.post("start_daemons", note=note)
    run = pid(one_yard, note)
    first = said(note)[0]["daemons"]
    assert alive(first) == first
    victims = {"run": run, "zygote": worker.zygote().pid, "worker": worker.process.pid}
    if victim == "worker":  # whose children are stopped
        for child in (worker.guard(), worker.zygote()):
            child.suspend()
    os.kill(victims[victim], signal.SIGKILL)
    if victim == "worker":
        worker.process.wait()
        one_yard.start("next")
    one_yard.until(lambda: not alive([run, *first]), what="the end of all it has started")
    Path(note + ".go").touch()
    one_yard.until_state(run_id, "Completed")
    _, again = said(note)
    one_yard.until(lambda: not alive([again["pid"], *again["daemons"]]), what="the end, again")


def test_runs_of_a_killed_worker_go_on_with_another(
    one_yard: Yard, worker: Started, note: str
) -> None:
    run_id = one_yard.post("sleep_on_second_attempt", note=note)
    process = pid(one_yard, note)
    one_yard.start("two")
    worker.process.kill()
    worker.process.wait()
    one_yard.until_state(run_id, "Completed")
    assert not alive([process])
    assert "its worker stopped responding" in str(one_yard.client.read_flow_run_states(run_id))


def test_a_worker_that_is_stopped_hands_back_what_it_cannot_end(
    one_yard: Yard, worker: Started, note: str
) -> None:
    one_yard.until(lambda: worker.name in one_yard.online(), what="its first beat")
    short = one_yard.post("end_when_told", note=note + ".short")
    run_id = one_yard.post("sleep_on_second_attempt", note=note)
    pid(one_yard, note)
    pid(one_yard, note + ".short")
    Path(note + ".short.go").touch()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(HANG_SECONDS) == 0
    assert one_yard.read(short).state_name == "Completed"
    assert one_yard.read(run_id).state_name == "AwaitingRetry"
    # Where it could not sign off in time, Prefect finds out when it misses its beats.
    one_yard.until(lambda: worker.name not in one_yard.online(), what="the end of its being online")
    one_yard.start("next")
    one_yard.until_state(run_id, "Completed")
    assert len(said(note)) == 2


def test_a_service_manager_that_stops_every_process_at_once_ends_no_run(
    one_yard: Yard, worker: Started, note: str
) -> None:
    run_id = one_yard.post("sleep_on_second_attempt", note=note)
    pid(one_yard, note)
    worker_process = psutil.Process(worker.process.pid)
    # The runs first, which is the worst order.
    for process in [*reversed(worker_process.children(recursive=True)), worker_process]:
        process.terminate()
    assert worker.process.wait(HANG_SECONDS) == 0
    assert "its worker was stopped" in str(one_yard.read(run_id).state)
    one_yard.start("back")
    one_yard.until_state(run_id, "Completed")
    assert "Crashed" not in one_yard.states(run_id)


def test_being_stopped_is_no_failure_whatever_a_run_makes_of_it(
    one_yard: Yard, worker: Started, note: str
) -> None:
    run_id = one_yard.post("make_an_error_of_being_stopped", note=note)
    pid(one_yard, note)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(HANG_SECONDS) == 0
    one_yard.start("after")
    one_yard.until_state(run_id, "Completed")
    assert "Failed" not in one_yard.states(run_id)
    assert not said(note + ".hook")


def test_a_host_that_was_paused_has_lost_its_runs_and_writes_nothing_more(
    one_yard: Yard, worker: Started, note: str
) -> None:
    run_id = one_yard.post("write_late", note=note)
    process = pid(one_yard, note)
    paused = worker.family()
    assert process in [one.pid for one in paused]
    for one in paused:
        one.suspend()
    one_yard.start("three")
    one_yard.until(lambda: len(said(note)) == 2, what="the second attempt")
    one_yard.until_state(run_id, "Completed")
    Path(note + ".go").touch()
    for one in paused:
        one.resume()
    one_yard.until(lambda: not alive([process]), what="the end of the first attempt")
    assert len(said(note + ".committed")) == 1
    assert version(one_yard, "late") == 1
    assert one_yard.read(run_id).state_name == "Completed"
    worker.end()


def test_a_notification_wakes_a_worker_that_polls_seldom(
    one_yard: Yard, worker: Started, note: str
) -> None:
    worker.end()
    one_yard.start(PREFECT_WORKER_QUERY_SECONDS="600")
    run_id = one_yard.post("look_around", note=note)
    engine = create_engine(one_yard.settings.database())

    def called() -> bool:
        with engine.begin() as connection:
            worker_notify.notify(connection)
        return one_yard.read(run_id).state_name == "Completed"

    one_yard.until(called)
    engine.dispose()
    one_yard.started[-1].end()


def test_a_paused_queue_starts_nothing_until_it_is_resumed(
    one_yard: Yard, worker: Started, note: str
) -> None:
    """Nor does a notification, nor another worker; what runs goes on."""
    running = one_yard.post("end_when_told", note=note)
    pid(one_yard, note)
    queue = one_yard.client.read_work_queue_by_name("default", work_pool_name=one_yard.pool)
    one_yard.client.update_work_queue(queue.id, is_paused=True)
    waiting = [one_yard.post("look_around", note=note + ".waits") for _ in range(5)]
    second = one_yard.start("second")
    one_yard.until(lambda: second.name in one_yard.online(), what="its first beat")
    engine = create_engine(one_yard.settings.database())
    for _ in range(20):
        with engine.begin() as connection:
            worker_notify.notify(connection)
    engine.dispose()
    Path(note + ".go").touch()
    one_yard.until_state(running, "Completed")
    assert {one_yard.read(run_id).state_name for run_id in waiting} <= {"Scheduled", "Late"}
    one_yard.client.update_work_queue(queue.id, is_paused=False)
    for run_id in waiting:
        one_yard.until_state(run_id, "Completed")
    assert worker.process.poll() is None
    second.end()


def test_of_an_order_whose_answer_waits_for_a_stalled_worker_one_process_comes(
    one_yard: Yard, note: str
) -> None:
    one_yard.end_all()
    worker = one_yard.start("stalled", AUTOINDEX_LEASE_SECONDS="60")
    zygote = worker.zygote()

    def has_an_order_that_the_worker_hears_nothing_of() -> bool:
        worker.process.send_signal(signal.SIGCONT)
        time.sleep(1)
        worker.process.send_signal(signal.SIGSTOP)
        zygote.resume()
        time.sleep(0.5)
        forked = bool(zygote.children())
        if not forked:
            zygote.suspend()
        return forked

    zygote.suspend()
    run_id = one_yard.post("end_when_told", note=note)
    one_yard.until_state(run_id, "Pending")
    one_yard.until(has_an_order_that_the_worker_hears_nothing_of)
    process = pid(one_yard, note)
    time.sleep(STALLED_SECONDS)
    worker.process.send_signal(signal.SIGCONT)
    one_yard.until(lambda: one_yard.read(run_id).infrastructure_pid, what="the start")
    assert str(one_yard.read(run_id).infrastructure_pid).endswith(f":{process}")
    Path(note + ".go").touch()
    one_yard.until_state(run_id, "Completed")
    assert len(said(note)) == 1
    worker.end()


def test_a_worker_that_starts_before_prefect_waits_for_it(one_yard: Yard, note: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        away = f"http://127.0.0.1:{port}/api"
        early = one_yard.start("early", PREFECT_API_URL=away)
        one_yard.until(
            lambda: "Unable to reach the Prefect API" in " ".join(early.text.split()),
            what="its word on that",
        )
        assert early.process.poll() is None, early.text
        early.end()


def test_a_worker_behind_a_pooler_that_keeps_no_session_does_not_start(
    one_yard: Yard, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    with pgbouncer(server, tmp_path, pool_mode="transaction") as pooler:
        refused = one_yard.spawn("pooled", AUTOINDEX_DATABASE_URL=pooler.url("postgres"))
        assert refused.process.wait(HANG_SECONDS) == 1
    assert "the worker does not start: settings, notifications, locks do not hold" in refused.text
    assert "Traceback" not in refused.text
    one_yard.started.remove(refused)


@pytest.fixture(scope="module")
def open_yard(
    lean_prefect_api: str, one_yard: Yard, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    """A pool with Prefect's own template, and a worker whose interpreter can be removed."""
    folder = tmp_path_factory.mktemp("open")
    for name in ("lib", "pyvenv.cfg"):
        (folder / name).symlink_to(Path(sys.prefix) / name)
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(Path(sys.executable).resolve())
    template = BaseVariables.model_json_schema()
    offered = {name: f"{{{{ {name} }}}}" for name in template["properties"]}
    with yard(lean_prefect_api, one_yard.settings, folder, "open-yard") as made:
        made.client.update_work_pool(
            made.pool,
            WorkPoolUpdate(base_job_template={"job_configuration": offered, "variables": template}),
        )
        made.python = python
        made.start()
        yield made


def test_a_command_and_an_environment_are_ignored_where_the_pool_allows_them(
    open_yard: Yard,
) -> None:
    note = open_yard.note("ignored")
    chosen = {"command": f"touch {note}.touched", "env": {"CHOSEN": "by the run"}}
    open_yard.until_state(open_yard.post("look_around", chosen, note=note), "Completed")
    assert not Path(f"{note}.touched").exists()
    assert said(note)[-1]["chosen"] is None


def test_a_run_that_cannot_be_started_fails_with_the_reason(open_yard: Yard) -> None:
    note = open_yard.note("not started")
    unknown = {"labels": {"key": "{{ prefect.blocks.secret.nobody-has-made-it }}"}}
    unresolved = open_yard.post("look_around", unknown, note=note)

    assert isinstance(open_yard.python, Path)
    open_yard.python.unlink()
    open_yard.started[0].zygote().kill()
    without_python = open_yard.post("look_around", note=note)
    _is_lost(open_yard, unresolved, "nobody-has-made-it")
    _is_lost(open_yard, without_python, f"'{open_yard.python}'; 3 earlier attempts")
    open_yard.end_all()


def _is_lost(where: Yard, run_id: UUID, reason: str) -> None:
    state = where.until_state(run_id, "Lost").state
    assert state is not None
    assert reason in str(state.message)
    assert "Crashed" not in where.states(run_id)


def test_with_all_slots_taken_what_is_urgent_and_came_last_begins_first(
    one_yard: Yard, note: str
) -> None:
    one_yard.end_all()
    one_yard.queue("urgent", 1)
    one_yard.queue("patient", 3)
    one_yard.start("narrow", limit=1)
    holding = one_yard.post("end_when_told", note=note + ".holding")
    pid(one_yard, note + ".holding")
    posts = [
        one_yard.post("look_around", queue=queue, note=f"{note}.{queue}")
        for queue in ("patient", "urgent")
    ]
    Path(note + ".holding.go").touch()
    for run_id in (holding, *posts):
        one_yard.until_state(run_id, "Completed")
    assert said(f"{note}.urgent")[0]["at"] < said(f"{note}.patient")[0]["at"]
    one_yard.started[-1].end()


@pytest.fixture(scope="module")
def behind(one_yard: Yard) -> Iterator[tuple[Started, TroubledProxy]]:
    """A worker that reaches Prefect through a proxy, and no other."""
    one_yard.end_all()
    api = httpx.URL(one_yard.api_url)
    with TroubledProxy(api) as proxy:
        through = str(api.copy_with(port=proxy.port))
        yield (
            one_yard.start("behind", PREFECT_API_URL=through, PREFECT_WORKER_HEARTBEAT_SECONDS="1"),
            proxy,
        )


def test_a_worker_outlives_a_prefect_server_that_answers_with_errors(
    one_yard: Yard, behind: tuple[Started, TroubledProxy], note: str
) -> None:
    worker, proxy = behind
    # It finds the run but can't claim it, and is not heard, for longer than Prefect would wait.
    proxy.fails = lambda method, path: (
        path.endswith("/heartbeat") or (method == "GET" and "/deployments/" in path)
    )
    run_id = one_yard.post("look_around", note=note)
    one_yard.until(
        lambda: sum(path.endswith("/heartbeat") for path in proxy.failed) > 13,
        what="more errors than Prefect's worker endures",
    )
    assert not _ends(worker), worker.text
    assert not said(note)
    proxy.fails = lambda _method, _path: False
    one_yard.until_state(run_id, "Completed")
    # What fails once after the claim costs an attempt, and nothing else.
    once = iter([True])
    proxy.fails = lambda _, path: path.endswith("/labels") and next(once, False)
    run_id = one_yard.post("look_around", note=note + ".labels")
    one_yard.until_state(run_id, "Completed")
    assert "AwaitingRetry" in one_yard.states(run_id)
    assert "Crashed" not in one_yard.states(run_id)


def test_a_worker_outlives_whatever_a_proxy_says_while_prefect_is_away(
    one_yard: Yard, behind: tuple[Started, TroubledProxy], note: str
) -> None:
    worker, proxy = behind
    holding = one_yard.post("end_when_told", note=note)  # whose end is looked for meanwhile
    pid(one_yard, note)
    for status in (404, 200):  # as before it is known again, or instead of it
        proxy.answer = (status, b"<html>No such service</html>")
        proxy.failed.clear()
        proxy.fails = lambda _method, _path: True
        for path in (f"/{one_yard.pool}", "/get_scheduled_flow_runs", "/flow_runs/filter"):
            one_yard.until(lambda path=path: _ends(worker) or _count(proxy, path) > 4)  # type: ignore[misc]
        assert not _ends(worker), worker.text
    proxy.fails = lambda _method, _path: False
    Path(note + ".go").touch()
    one_yard.until_state(holding, "Completed")
    # A password that was changed is no outage.
    proxy.answer = (401, b"{}")
    proxy.fails = lambda _method, _path: True
    assert worker.process.wait(HANG_SECONDS) == 1
    # Prefect may have a word on the events it could not send after it.
    assert "the worker ends: Prefect refuses its password" in worker.text


def _ends(worker: Started) -> bool:
    return worker.process.poll() is not None


def _count(proxy: TroubledProxy, path: str) -> int:
    return sum(failed.endswith(path) for failed in proxy.failed)


@pytest.fixture(scope="module")
def afar(one_yard: Yard) -> Iterator[tuple[Started, list[Relay]]]:
    """A worker on a host of its own, its cables to the database and to Prefect, and no other."""
    one_yard.end_all()
    with one_yard.afar(PREFECT_WORKER_HEARTBEAT_SECONDS="1") as made:
        yield made


def test_a_worker_that_reaches_prefect_but_not_the_database_claims_nothing_and_says_so_once(
    one_yard: Yard, afar: tuple[Started, list[Relay]], note: str
) -> None:
    cut_off, (to_database, _) = afar
    one_yard.until(lambda: "afar" in one_yard.online(), what="its first heartbeat")
    to_database.cut()
    one_yard.until(lambda: "no run is claimed" in cut_off.text, what="its word on that")
    one_yard.until(lambda: "afar" not in one_yard.online(), what="its end as a worker")
    run_id = one_yard.post("look_around", note=note)
    time.sleep(5)  # for ten polls, and more than a lease's lifetime
    assert one_yard.read(run_id).state_name in ("Scheduled", "Late")
    to_database.forget()  # what was on its way never comes
    one_yard.until_state(run_id, "Completed")
    one_yard.until(lambda: "afar" in one_yard.online(), what="its next heartbeat")
    assert cut_off.text.count("no run is claimed") == 1
    assert cut_off.text.count("the database can be used again") == 1


def ended(said_to_prefect: bytes) -> bool:
    return all(word in said_to_prefect for word in (b"/set_state ", b'"COMPLETED"'))


def test_an_end_that_is_on_its_way_when_the_process_dies_is_the_end(
    one_yard: Yard, afar: tuple[Started, list[Relay]], note: str
) -> None:
    _, (_, to_prefect) = afar
    run_id = one_yard.post("end_when_told", note=note)
    process = psutil.Process(pid(one_yard, note))
    to_prefect.cut()
    Path(note + ".go").touch()
    one_yard.until(lambda: ended(to_prefect.held), what="its word that it has ended")
    process.kill()
    time.sleep(1)  # for its worker to ask what it has said
    to_prefect.heal()
    one_yard.until_state(run_id, "Completed")
    time.sleep(2)  # for what its worker makes of its death
    one_yard.until_state(run_id, "Completed")
    assert len(said(note)) == 1, one_yard.states(run_id)


def test_a_host_that_is_cut_off_has_lost_its_runs_and_writes_nothing_more(
    one_yard: Yard, afar: tuple[Started, list[Relay]], note: str
) -> None:
    cut_off, cables = afar
    run_id = one_yard.post("write_late", note=note)
    process = pid(one_yard, note)
    for cable in cables:
        cable.cut()
    Path(note + ".go").touch()  # it goes on, but reaches nobody
    near = one_yard.start("near")
    one_yard.until_state(run_id, "Completed")
    before = version(one_yard, "late")
    for cable in cables:
        cable.heal()
    one_yard.until(lambda: not alive([process]), what="the end of the first attempt")
    assert len(said(note + ".committed")) == 1
    assert version(one_yard, "late") == before
    assert one_yard.read(run_id).state_name == "Completed"
    # It has found its way back, and takes runs again.
    assert cut_off.process.poll() is None
    near.end()
    one_yard.until_state(one_yard.post("look_around", note=note + ".after"), "Completed")


def version(one_yard: Yard, name: str) -> int:
    engine = create_engine(one_yard.settings.database())
    query = text("select version from data_versions where name = :name")
    with engine.connect() as connection:
        found: int = connection.execute(query, {"name": name}).scalar_one()
    engine.dispose()
    return found


@pytest.mark.usefixtures("worker")
def test_of_what_has_ended_nobody_keeps_a_lease(one_yard: Yard) -> None:
    """A worker that was killed at the very end leaves one, which another takes and gives up."""
    engine = create_engine(one_yard.settings.database())
    query = text("select count(*) from leases where holder is not null")

    def held() -> int:
        with engine.connect() as connection:
            found: int = connection.execute(query).scalar_one()
        return found

    one_yard.until(lambda: not held(), what="the end of every lease")
    engine.dispose()
