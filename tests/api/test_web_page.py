"""The page for people, in a real Chromium, against a real facade."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, insert

from api.app import create_app
from api.routes import web_page_routes
from api.tasks.runner import Kind
from autoindex.settings import Settings
from autoindex.storage.tables import reports
from tests.api import web_page
from tests.api.answers import client
from tests.api.in_memory import InMemory, Run
from tests.browser import Tab, browser, new_tab

pytestmark = pytest.mark.anyio

FOLDER = Path(web_page_routes.__file__).parents[1] / "web_page"
ROWS = "document.querySelector('#task-rows').innerText"
PROBLEM = "document.querySelector('#problem').textContent"
NEWS = "document.querySelector('#news').textContent"
BUTTONS = """[...document.querySelectorAll('%s button')]
  .filter((one) => one.checkVisibility()).map((one) => one.textContent)"""
# The contrast of every text with what is behind it, where it is lower than WCAG's AA asks for.
LOW_CONTRAST = """(() => {
  const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => rgb(color).slice(0, 3).map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (node) => {
    const shade = node.closest('svg')?.querySelector('.shade');
    if (shade && node.textContent === 'back-tested') return getComputedStyle(shade).fill;
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (rgb(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const texts = [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility()
    && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
  return texts.map((node) => {
    const style = getComputedStyle(node);
    const both = [light(node.closest('svg') ? style.fill : style.color), light(behind(node))];
    const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    return [node.textContent, ratio];
  }).filter(([, ratio]) => ratio < 4.5);
})()"""


@pytest.fixture
async def url(app: FastAPI, api_engine: Engine) -> AsyncIterator[str]:
    web_page.publish(api_engine)
    async with web_page.served(app) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[int]:
    with browser() as port:
        yield port


@pytest.fixture
async def tab(chromium: int) -> AsyncIterator[Tab]:
    """A tab in which nothing goes wrong."""
    async with new_tab(chromium) as opened:
        yield opened
        assert opened.errors == []


@pytest.fixture
def running(runner: InMemory) -> Run:
    """A refresh of ada's that runs."""
    run = runner.schedule(
        Kind.REFRESH, {"mode": "smart", "symbols": None, "force": False}, timedelta()
    )
    run.user = "ada"
    run.begin()
    return run


@pytest.fixture
def tasks_of_ada(runner: InMemory, running: Run) -> None:
    """One that runs, and an older one that has failed."""
    ended = runner.schedule(Kind.COMPUTE, {}, timedelta(seconds=-5))
    ended.user = running.user
    ended.move("FAILED", message="no prices")


async def sign_in(tab: Tab, url: str, token: str) -> None:
    """Open the link that `autoindex up` prints, and wait for the index."""
    await tab.open(f"{url}#token={token}")
    await tab.until(
        "document.querySelector('#chart path') && !document.querySelector('#content').hidden"
    )


async def test_every_file_is_open_and_may_load_nothing_else(app: FastAPI) -> None:
    served = {path.rpartition("/")[2] or "index.html" for path in web_page_routes.PATHS}
    assert served == {path.name for path in FOLDER.iterdir()}
    async with client(app, None) as stranger:
        for path in web_page_routes.PATHS:
            answer = await stranger.get(path)
            assert answer.status_code == 200, path
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert answer.headers["cache-control"] == "no-cache"
            known = {"If-None-Match": answer.headers["etag"]}
            again = await stranger.get(path, headers=known)
            assert (again.status_code, again.content) == (304, b"")
            head = await stranger.head(path)
            assert (head.status_code, head.content) == (200, b"")
            named = re.findall(r"(?:https?:)?//[\w.-]+", answer.text)
            assert set(named) <= {"http://www.w3.org"}, path  # the name of SVG


async def test_the_page_links_to_the_operators_prefect(
    settings: Settings, runner: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_UI_URL", 'https://prefect.example/"><script>')
    async with client(create_app(settings, runner), None) as stranger:
        page = (await stranger.get("/")).text
    assert 'href="https://prefect.example/&quot;&gt;&lt;script&gt;"' in page


async def test_a_pasted_token_shows_the_index_by_keyboard_alone(
    tab: Tab, url: str, app: FastAPI
) -> None:
    await tab.open(url)
    while await tab.evaluate("document.activeElement.id") != "token":
        await tab.press("Tab")
    await tab.send("Input.insertText", text=f" Bearer {web_page.token(app)}\n")
    await tab.press("Enter")
    await tab.until("document.querySelector('#chart path')")
    assert await tab.text("#user") == "Signed in as ada"
    figures = await tab.text("#figures")
    assert "Level (2022-11-01)\n286.42" in figures
    assert "Annual return\n+28.49 %" in figures
    assert "Beta" not in figures
    caption = await tab.text("#chart-caption")
    assert "from 100.00 on 2019-01-02 to 286.42 on 2022-11-01" in caption
    assert "Up to 2022-10-18 it is back-tested" in caption
    weights = await tab.text("#weights")
    assert re.search(r"Technology\s+62\.50 %\s+AAPL\s+Not classified\s+37\.50 %\s+JPM", weights)
    assert {httpx.URL(asked).copy_with(path="/", query=None) for asked in tab.requests} == {
        httpx.URL(url)
    }
    assert await tab.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    await tab.click("#sign-out")
    await tab.until("document.activeElement.id === 'token'")
    assert await tab.evaluate("sessionStorage.length") == 0
    assert await tab.evaluate("document.querySelector('#content').hidden")


async def test_a_link_leaves_no_token_in_the_address(tab: Tab, url: str, app: FastAPI) -> None:
    await sign_in(tab, url, web_page.token(app))
    assert await tab.evaluate("location.href") == url
    history = await tab.send("Page.getNavigationHistory")
    assert not [entry for entry in history["entries"] if "token" in entry["url"]]
    await tab.open(url)
    await tab.until("document.querySelector('#chart path')")  # in this tab the token stays
    await tab.evaluate(f"location.hash = 'token={web_page.token(app, 'bob')}'")
    await tab.until("document.querySelector('#user').textContent === 'Signed in as bob'")
    assert await tab.evaluate("location.href") == url


async def test_an_index_that_is_empty_says_what_to_do(
    tab: Tab, url: str, app: FastAPI, api_engine: Engine
) -> None:
    web_page.empty(api_engine)
    await tab.open(f"{url}#token={web_page.token(app)}")
    await tab.until("!document.querySelector('#no-index').hidden")
    assert "A refresh fetches prices" in await tab.text("#index")
    assert not await tab.evaluate("document.querySelector('#figures').checkVisibility()")


async def test_progress_is_shown_while_a_task_runs(
    tab: Tab, url: str, app: FastAPI, api_engine: Engine, running: Run
) -> None:
    await sign_in(tab, url, web_page.token(app))
    for completed in (3, 12):
        web_page.count(api_engine, running.id, completed, 21)
        await tab.until(f"{ROWS}.includes('fetch: {completed} of 21 symbols fetched')")
    bar = "document.querySelector('#task-rows progress')"
    assert await tab.evaluate(f"[{bar}.value, {bar}.max]") == [12, 21]
    running.move("FAILED", message="<img src=x onerror=alert(1)> the key is refused")
    await tab.until(f"{ROWS}.includes('failure')")
    assert "<img src=x onerror=alert(1)> the key is refused" in await tab.text("#task-rows")
    assert await tab.text("#news") == "Refresh: failure."
    assert await tab.evaluate("document.querySelector('#news').getAttribute('role')") == "status"


async def test_a_computation_that_ends_changes_the_index(
    tab: Tab, url: str, app: FastAPI, api_engine: Engine, running: Run
) -> None:
    web_page.empty(api_engine)
    await tab.open(f"{url}#token={web_page.token(app)}")
    await tab.until("!document.querySelector('#no-index').hidden")
    web_page.publish(api_engine)
    running.move("COMPLETED")
    await tab.until("document.querySelector('#figures').innerText.includes('286.42')")


async def test_a_task_is_started_and_cancelled(
    tab: Tab, url: str, app: FastAPI, runner: InMemory
) -> None:
    await sign_in(tab, url, web_page.token(app))
    await tab.click("#report-form button")
    await tab.until(f"{NEWS} === 'Report generation task queued.'")
    (run,) = runner.runs.values()
    assert (run.kind, run.user, run.parameters["format"]) == (Kind.REPORT, "ada", "pdf")
    cancel = "document.querySelector('#task-rows button')"
    await tab.until(f"{cancel}?.checkVisibility()")
    await tab.evaluate(f"{cancel}.focus()")
    await tab.press("Enter")
    await tab.until(f"{ROWS}.includes('cancelled')")
    assert run.state_type == "CANCELLED"
    # The button is gone, and the keyboard's place is beside where it was.
    await tab.until("document.activeElement.id === 'tasks-heading'")


async def test_a_failure_is_retried(
    tab: Tab, url: str, app: FastAPI, runner: InMemory, running: Run
) -> None:
    running.move("FAILED", message="no prices")
    await sign_in(tab, url, web_page.token(app))
    await tab.click("#task-rows tr:last-child button[aria-label^=Retry]")
    await tab.until(f"{ROWS}.includes('failure, retried')")
    old, new = runner.runs.values()
    assert (old.id, new.kind, new.parameters["mode"]) == (running.id, Kind.REFRESH, "smart")
    assert await tab.evaluate(BUTTONS % "#task-rows") == ["Cancel"]


@pytest.mark.parametrize(
    ("user", "scopes", "starts", "acts"),
    [
        ("ada", "read", [], []),
        ("bob", "read run", ["Refresh prices"], []),
        ("ada", "read run", ["Refresh prices"], ["Cancel", "Retry"]),
        ("root", "read admin", ["Preview a cleanup"], ["Cancel"]),
    ],
)
@pytest.mark.usefixtures("tasks_of_ada")
async def test_buttons_are_those_that_the_token_allows(
    tab: Tab, url: str, app: FastAPI, user: str, scopes: str, starts: list[str], acts: list[str]
) -> None:
    token = web_page.token(app, user, [f"tasks:{scope}" for scope in scopes.split()])
    await sign_in(tab, url, token)
    assert (await tab.evaluate(BUTTONS % "#start"))[:1] == starts
    assert await tab.evaluate(BUTTONS % "#task-rows") == acts


async def test_a_report_is_downloaded(
    tab: Tab,
    url: str,
    app: FastAPI,
    runner: InMemory,
    settings: Settings,
    api_engine: Engine,
    tmp_path: Path,
) -> None:
    run = runner.schedule(Kind.REPORT, {"report_type": "weekly", "format": "pdf"}, timedelta())
    run.move("COMPLETED")
    content = b"%PDF-1.7 a report"
    settings.reports_dir.mkdir(parents=True, exist_ok=True)
    (settings.reports_dir / "weekly.pdf").write_bytes(content)
    row = {
        "task_id": run.id,
        "report_type": "weekly",
        "format": "pdf",
        "period_start": web_page.SESSIONS[0].date(),
        "period_end": web_page.SESSIONS[-1].date(),
        "path": "weekly.pdf",
        "media_type": "application/pdf",
        "size_bytes": len(content),
        "sha256": sha256(content).hexdigest(),
    }
    with api_engine.begin() as connection:
        connection.execute(insert(reports).values(row))
    await sign_in(tab, url, web_page.token(app, "bob", ["tasks:read"]))
    assert await tab.download("#report-rows button", tmp_path) == ("weekly.pdf", content)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("a.b.c", "The token cannot be verified. Paste another token."),
        ("näh", "This is not a token. Paste the whole line that the command prints."),
    ],
)
async def test_a_wrong_token_says_so(tab: Tab, url: str, token: str, said: str) -> None:
    await tab.open(url)
    await tab.evaluate(f"document.querySelector('#token').value = {json.dumps(token)}")
    await tab.click("#token-form button")
    await tab.until(PROBLEM)
    assert await tab.text("#problem") == said
    assert await tab.evaluate("document.querySelector('#problem').getAttribute('role')") == "alert"
    assert await tab.evaluate("sessionStorage.length") == 0


async def test_a_token_without_a_scope_says_which(tab: Tab, url: str, app: FastAPI) -> None:
    await tab.open(f"{url}#token={web_page.token(app, scopes=['tasks:run'])}")
    await tab.until(PROBLEM)
    assert "tasks:read" in await tab.text("#problem")


async def test_too_many_requests_say_when_to_try_again(
    tab: Tab, settings: Settings, runner: InMemory
) -> None:
    tight = create_app(settings.model_copy(update={"requests_per_minute": 1}), runner)
    async with web_page.served(tight) as url:
        await tab.open(f"{url}#token={web_page.token(tight)}")
        await tab.until(PROBLEM)
        said = await tab.text("#problem")
    assert re.search(r"Try again in \d+ seconds\.$", said)
    await tab.click("#start button")
    await tab.until(f"{PROBLEM}.startsWith('The facade does not answer')")


@pytest.mark.parametrize("dark", [False, True])
async def test_it_fits_every_screen_and_can_be_read(
    tab: Tab, url: str, app: FastAPI, runner: InMemory, api_engine: Engine, running: Run, dark: bool
) -> None:
    failed = runner.schedule(Kind.REFRESH, {"symbols": ["AAPL"] * 90}, timedelta())
    failed.move("FAILED", message="see AUTOINDEX_TWELVE_DATA_API_KEY " + "x" * 90)
    runner.schedule(Kind.REPORT, {"report_type": "weekly", "format": "pdf"}, timedelta()).move(
        "COMPLETED"
    )
    web_page.count(api_engine, running.id, 3, 21)
    await sign_in(tab, url, web_page.token(app))
    await tab.until(f"{ROWS}.includes('3 of 21')")
    for width in (320, 375, 768, 1_400):
        await tab.look(width, dark=dark)
        drawn = "document.querySelector('#chart svg').clientWidth"
        await tab.until(f"{drawn} === document.querySelector('#chart').clientWidth")
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await tab.evaluate(wide) == 0, width
        assert await tab.evaluate(LOW_CONTRAST) == []


async def test_a_screen_reader_finds_its_way(
    tab: Tab, url: str, app: FastAPI, running: Run
) -> None:
    await sign_in(tab, url, web_page.token(app))
    tree = (await tab.send("Accessibility.getFullAXTree"))["nodes"]
    nodes = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"]
    ]
    unnamed = ("button", "link", "combobox", "textbox", "image", "progressbar", "table", "region")
    assert [role for role, name in nodes if role in unnamed and not name] == []
    roles = {role for role, _ in nodes}
    assert {"banner", "main", "navigation", "status", "alert", "rowheader"} <= roles
    headings = [name for role, name in nodes if role == "heading"]
    assert headings == ["Autoindex", "Index", "Tasks", "Reports", "Weights"]
    assert any(name.startswith("Cancel: Refresh, ") for role, name in nodes if role == "button")
    assert await tab.evaluate("document.documentElement.lang") == "en"
