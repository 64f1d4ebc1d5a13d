"""A browser: Debian's chromium without a window, driven by the DevTools protocol."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.leaving_out import leave_out

START_S = 60
ANSWER_S = 60
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # root cannot have one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)


def program() -> str:
    """Where chromium is. Leaves the test out if it is nowhere."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        leave_out("no chromium was found: apt-get install chromium")
    return found


class Page:
    """A tab. ``problems``: what its console says is wrong."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.problems: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self._browser.call(method, self._session, **parameters)

    async def visit(self, url: str) -> None:
        """Return when the page, and what it names, is loaded."""
        loaded = self._browser.expect(self._session, "Page.loadEventFired")
        told = await self.call("Page.navigate", url=url)
        assert "errorText" not in told, told
        await asyncio.wait_for(loaded, ANSWER_S)

    async def run(self, script: str) -> Any:
        """The value of an expression; a promise is awaited."""
        told = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")


class Browser:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._expected: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._pages: dict[str, Page] = {}

    async def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        of_page = {} if session is None else {"sessionId": session}
        await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters, **of_page}))
        return await asyncio.wait_for(answer, ANSWER_S)

    def expect(self, session: str, method: str) -> asyncio.Future[None]:
        future = self._expected[session, method] = asyncio.get_running_loop().create_future()
        return future

    async def open(self) -> Page:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        return page

    async def listen(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            async for text in self._connection:
                self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            answer = self._answers.pop(message["id"])
            if "error" in message:
                answer.set_exception(RuntimeError(str(message["error"])))
            else:
                answer.set_result(message["result"])
            return
        session, method = message.get("sessionId", ""), message["method"]
        expected = self._expected.pop((session, method), None)
        if expected is not None and not expected.done():
            expected.set_result(None)
        if session in self._pages and (problem := _problem_in(method, message["params"])) is not None:
            self._pages[session].problems.append(problem)


def _problem_in(method: str, told: dict[str, Any]) -> str | None:
    match method:
        case "Log.entryAdded" if told["entry"]["level"] == "error":
            return str(told["entry"])
        case "Runtime.exceptionThrown":
            return str(told["exceptionDetails"])
        case "Runtime.consoleAPICalled" if told["type"] == "error":
            return str(told["args"])
    return None


@asynccontextmanager
async def chromium(*options: str) -> AsyncIterator[Browser]:
    """A browser with a profile of its own."""
    folder = Path(tempfile.mkdtemp(prefix="foldbook-chromium-"))
    process = await asyncio.create_subprocess_exec(
        *(program(), *OPTIONS, f"--user-data-dir={folder}", *options, "about:blank"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        process_group=0,
        env={name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
    )
    try:
        address = await _address(folder / "DevToolsActivePort", process)
        async with connect(address, max_size=None, proxy=None) as connection:
            browser = Browser(connection)
            listening = asyncio.create_task(browser.listen())
            try:
                yield browser
            finally:
                listening.cancel()
                await listening
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def _address(file: Path, process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(START_S):
        while not (file.exists() and len(file.read_text().splitlines()) == 2):
            assert process.returncode is None, "chromium did not start"
            await asyncio.sleep(0.05)
    port, path = file.read_text().splitlines()
    return f"ws://127.0.0.1:{port}{path}"
