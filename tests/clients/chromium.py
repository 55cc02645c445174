"""A Chromium without a window, driven over the DevTools protocol through two pipes.

Decides: the browser's flags, so that nothing but the page's own requests leaves it; one page. It needs no driver
program and no package. Facts: with `--remote-debugging-pipe` Chromium reads commands from descriptor 3 and writes
answers and events to descriptor 4, each a JSON text that ends in a zero byte.
"""

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

FLAGS: Final = (
    *("--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars"),
    *("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-extensions", "--disable-default-apps", "--disable-dev-shm-usage", "--mute-audio"),
    # Names of hosts lead nowhere, so a request to the outside fails at once instead of waiting for a network.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)

ANSWER_SECONDS: Final = 30.0


class BrowserError(Exception):
    """The browser is missing, ended, refused a command or did not come to the awaited state."""


@dataclass
class Exchange:
    """One request of the page; status 0 while there is no answer."""

    method: str
    url: str
    status: int = 0
    failure: str = ""
    #: The page lost interest, before or after the answer began.
    given_up: bool = False
    ended: bool = False

    @property
    def path(self) -> str:
        """The path with its query, as the page asked for it."""
        parts = urlsplit(self.url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path


@dataclass
class _Heard:
    """What the browser has said so far; written by the reading thread."""

    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    ended: bool = False


class Page:
    """The browser's only page."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._heard = _Heard()
        self._changed = threading.Condition()
        self._last = 0
        self._session = ""
        threading.Thread(target=self._listen, args=(answers,), daemon=True).start()

    def open(self, width: int, height: int) -> None:
        """Makes the page and begins to watch its requests and its console."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.command(f"{domain}.enable")
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command. Raises BrowserError when it is refused or the browser is gone."""
        self._last += 1
        number = self._last
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        try:
            os.write(self._commands, json.dumps(message).encode() + b"\0")
        except BrokenPipeError:
            raise BrowserError("the browser has ended") from None
        with self._changed:
            heard = self._changed.wait_for(
                lambda: number in self._heard.answers or self._heard.ended, timeout=ANSWER_SECONDS
            )
            answer = self._heard.answers.pop(number, None) if heard else None
        if answer is None:
            raise BrowserError(f"the browser gave no answer to {method}")
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def go(self, url: str) -> None:
        """Begins to load a page; what it awaits is for the caller to say."""
        self.command("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        result = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise BrowserError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 30) -> Any:
        """The value of the expression as soon as it is true. Raises BrowserError when that does not happen in time."""
        deadline = time.monotonic() + seconds
        said = ""
        while time.monotonic() < deadline:
            try:
                if value := self.evaluate(expression):
                    return value
            except BrowserError as error:  # what it looks for may not be there while the page loads
                said = str(error)
            time.sleep(0.1)
        shown = " ".join(str(self.evaluate("document.body?.innerText")).split())
        raise BrowserError(f"not within {seconds} s: {expression}\n{said}\n{shown[:500]}")

    def click(self, expression: str, times: int = 1) -> None:
        """Clicks on the middle of the element that the expression finds, as a mouse does."""
        x, y = self.wait_for(
            f"(() => {{ const found = {expression}; if (!found) return null; const box = found.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=count)

    def turn_wheel(self, x: int, y: int, notches: int) -> None:
        """Turns the mouse wheel over a point of the page; towards its end if `notches` is positive."""
        for _ in range(abs(notches)):
            way = 100 if notches > 0 else -100
            self.command("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=way)

    def type(self, text: str) -> None:
        """Types into whatever has the focus, key by key."""
        for character in text:
            self.command("Input.dispatchKeyEvent", type="keyDown", text=character, key=character)
            self.command("Input.dispatchKeyEvent", type="keyUp", key=character)

    def screenshot(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"])

    @property
    def exchanges(self) -> list[Exchange]:
        """The page's requests so far, in the order they were made; those for data it holds itself are left out."""
        with self._changed:
            return [each for each in self._heard.exchanges.values() if each.url.startswith("http")]

    @property
    def complaints(self) -> list[str]:
        """Errors on the console: exceptions nobody caught, requests that failed or were forbidden, `console.error`."""
        with self._changed:
            return list(self._heard.complaints)

    def _listen(self, answers: int) -> None:
        rest = b""
        while data := os.read(answers, 1 << 16):
            *messages, rest = (rest + data).split(b"\0")
            with self._changed:
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._heard.answers[message["id"]] = message
                    else:
                        self._note(message["method"], message["params"])
                self._changed.notify_all()
        with self._changed:
            self._heard.ended = True
            self._changed.notify_all()

    def _note(self, event: str, about: dict[str, Any]) -> None:
        heard = self._heard
        match event:
            case "Network.requestWillBeSent":
                request = about["request"]
                heard.exchanges[about["requestId"]] = Exchange(request["method"], request["url"])
            case "Network.responseReceived" if about["requestId"] in heard.exchanges:
                heard.exchanges[about["requestId"]].status = about["response"]["status"]
            case "Network.loadingFinished" if about["requestId"] in heard.exchanges:
                heard.exchanges[about["requestId"]].ended = True
            case "Network.loadingFailed" if about["requestId"] in heard.exchanges:
                exchange = heard.exchanges[about["requestId"]]
                exchange.failure, exchange.given_up, exchange.ended = about["errorText"], about["canceled"], True
            case "Runtime.exceptionThrown":
                details = about["exceptionDetails"]
                heard.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if about["type"] == "error":
                words = [str(each.get("value", each.get("description", ""))) for each in about["args"]]
                heard.complaints.append(" ".join(words))
            case "Log.entryAdded" if about["entry"]["level"] == "error":
                heard.complaints.append(f"{about['entry']['text']} {about['entry'].get('url', '')}")


def find_chromium() -> str:
    """The path of the browser. Raises BrowserError, with what to do about it, when there is none."""
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        if name and (path := shutil.which(name)):
            return path
    raise BrowserError(
        "The tests of the viewer need Chromium: install it (on Debian and Ubuntu: apt-get install chromium), "
        "or set CHROMIUM to its path."
    )


@contextlib.contextmanager
def page(log: Path, width: int = 1400, height: int = 860) -> Iterator[Page]:
    """A page of a browser of its own, for the length of the block.

    `log` receives everything that the browser did on the network, from whatever part of it: see `outside`.
    """
    browser = find_chromium()
    command_end, command_pipe = os.pipe()
    answer_pipe, answer_end = os.pipe()
    command_end, answer_end = _away_from_the_first_few(command_end), _away_from_the_first_few(answer_end)
    # bash puts the pipes where Chromium looks for them; a child of Python has the numbers its parent had.
    redirected = f'exec "$@" 3<&{command_end} 4>&{answer_end}'
    with (
        tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile,
        log.with_suffix(".stderr").open("w+") as errors,
    ):
        process = subprocess.Popen(
            [
                *("bash", "-c", redirected, "bash", browser, *FLAGS, "--remote-debugging-pipe"),
                *(f"--user-data-dir={profile}", f"--log-net-log={log}", "about:blank"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[command_end, answer_end],
        )
        os.close(command_end)
        os.close(answer_end)
        try:
            opened = Page(command_pipe, answer_pipe)
            try:
                opened.open(width, height)
            except BrowserError as error:
                errors.seek(0)
                raise BrowserError(f"{browser} cannot be used: {error}\n{errors.read()[-2000:]}") from None
            yield opened
        finally:
            # It writes the end of its log when it is told to end, and ends by itself when the pipe is closed.
            with contextlib.suppress(OSError, BrowserError):
                opened._session = ""
                opened.command("Browser.close")
            os.close(command_pipe)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _away_from_the_first_few(descriptor: int) -> int:
    """The same pipe under a number that bash, when it makes 3 and 4, does not overwrite."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(descriptor)
    return moved


def outside(log: Path, origin: str) -> set[str]:
    """The URLs that pages of `origin` asked of any other, according to the browser's own log of the network."""
    document = json.loads(log.read_text(encoding="utf-8"))
    asked = set()
    for event in document["events"]:
        about = event.get("params", {})
        if isinstance(about, dict) and about.get("initiator") == origin and "url" in about:
            asked.add(about["url"])
    assert any(url.startswith(f"{origin}/") for url in asked), "the log holds no request of the page"
    return {url for url in asked if not url.startswith((f"{origin}/", "data:", "blob:"))}
