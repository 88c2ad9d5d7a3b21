"""A real Chromium without a window, driven by its DevTools protocol."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.bounds import HANG_SECONDS

_FLAGS: Final = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server"),
    *("--disable-dev-shm-usage", "--disable-background-networking", "--remote-debugging-port=0"),
)
# Resolves as soon as the page says so; every change of the page asks again.
_UNTIL: Final = """new Promise((resolve) => {
  const check = () => { if (%s) resolve(true); };
  const seen = { subtree: true, childList: true, attributes: true, characterData: true };
  new MutationObserver(check).observe(document, seen);
  check();
})"""


class Tab:
    """One tab: what it shows, and what its user does."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded, self._downloaded = asyncio.Event(), asyncio.Event()
        self.requests: list[str] = []
        self.errors: list[str] = []

    async def listen(self) -> None:
        """Take what the browser says, until it ends."""
        async for text in self._connection:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            else:
                self._note(message["method"], message["params"])

    def _note(self, event: str, said: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded.set()
        elif event == "Browser.downloadProgress" and said["state"] == "completed":
            self._downloaded.set()
        elif event == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(str(said["exceptionDetails"]))
        # An answer that is an error is logged, too; what the page makes of it is its own matter.
        elif event == "Log.entryAdded" and said["entry"]["source"] != "network":
            self.errors.append(said["entry"]["text"])

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command; its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": parameters}
        await self._connection.send(json.dumps(command))
        async with asyncio.timeout(HANG_SECONDS):
            answer = await self._answers[number]
        assert "error" not in answer, answer
        return dict(answer["result"])

    async def open(self, url: str) -> None:
        """Go to an address, and wait until it has loaded."""
        self._loaded.clear()
        await self.send("Page.navigate", url=url)
        async with asyncio.timeout(HANG_SECONDS):
            await self._loaded.wait()

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true."""
        await self.evaluate(_UNTIL % condition)

    async def text(self, selector: str) -> str:
        """What an element shows."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def click(self, selector: str) -> None:
        """Click an element."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def press(self, key: str) -> None:
        """Press a key."""
        code = {"Tab": 9, "Enter": 13}[key]
        described = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **described, **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **described)

    async def download(self, selector: str, folder: Path) -> tuple[str, bytes]:
        """Click what downloads a file; the file's name and content."""
        chosen = {"behavior": "allow", "downloadPath": str(folder), "eventsEnabled": True}
        await self.send("Browser.setDownloadBehavior", **chosen)
        await self.click(selector)
        async with asyncio.timeout(HANG_SECONDS):
            await self._downloaded.wait()
        (file,) = folder.iterdir()
        return file.name, file.read_bytes()

    async def look(self, width: int, *, height: int = 800, dark: bool = False) -> None:
        """Show the page on a screen of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        await self.send("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, path: Path) -> None:
        """Store a picture of the whole page."""
        shot = await self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser() -> Iterator[int]:
    """The port of a new browser; skips tests where none is installed, but not in CI."""
    command = shutil.which("chromium") or shutil.which("google-chrome")
    if command is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed")
    with TemporaryDirectory(prefix="autoindex-chromium-", ignore_cleanup_errors=True) as folder:
        started = subprocess.Popen(
            [command, *_FLAGS, f"--user-data-dir={folder}", "about:blank"],
            env=os.environ | {"HOME": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield _port(started, Path(folder) / "DevToolsActivePort")
        finally:
            started.terminate()
            started.wait(HANG_SECONDS)


def _port(started: "subprocess.Popen[bytes]", file: Path) -> int:
    deadline = time.monotonic() + HANG_SECONDS
    while not (file.exists() and file.read_text().count("\n")):
        assert started.poll() is None, "Chromium has ended"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(file.read_text().splitlines()[0])


@asynccontextmanager
async def new_tab(port: int) -> AsyncIterator[Tab]:
    """A new tab of a browser."""
    async with httpx.AsyncClient(trust_env=False, timeout=HANG_SECONDS) as http:
        opened = (await http.put(f"http://127.0.0.1:{port}/json/new")).json()
        url = opened["webSocketDebuggerUrl"]
        async with connect(url, max_size=None, proxy=None) as connection:
            tab = Tab(connection)
            listening = asyncio.create_task(tab.listen())
            for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
                await tab.send(f"{domain}.enable")
            yield tab
            await connection.close()
            await listening
        await http.get(f"http://127.0.0.1:{port}/json/close/{opened['id']}")
