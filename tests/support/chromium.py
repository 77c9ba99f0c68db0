"""A headless chromium, driven over its DevTools protocol by two pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.programs import program
from tests.support.waiting import DEADLINE_S, wait_for

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)


class PageError(AssertionError):
    """The page's script threw."""


class Chromium:
    """One browser with one page. `events` are the protocol's, all that came so far."""

    def __init__(self, timezone: str = "Europe/Berlin") -> None:
        self._timezone = timezone
        self._number = 0
        self._read = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Chromium:
        self._folder = tempfile.mkdtemp()
        ours_in, its_out = os.pipe()
        its_in, ours_out = os.pipe()
        # It reads commands from descriptor 3 and writes to 4.
        shell = f'exec "$@" 3</dev/fd/{its_in} 4>/dev/fd/{its_out}'
        self._process = subprocess.Popen(
            ["sh", "-c", shell, "sh", program("chromium"), *_FLAGS, f"--user-data-dir={self._folder}", "about:blank"],
            pass_fds=(its_in, its_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TZ": self._timezone, "LANG": "en_US.UTF-8"},
        )
        os.close(its_in)
        os.close(its_out)
        self._in, self._out = ours_in, ours_out
        target = self._ask("Target.getTargets", None)["targetInfos"]
        page = next(each["targetId"] for each in target if each["type"] == "page")
        self._session: str = self._ask("Target.attachToTarget", None, targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._out)  # it ends when nobody commands it any more
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    # --- the protocol

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one of the page's methods."""
        return self._ask(method, self._session, **params)

    def _ask(self, method: str, session: str | None, **params: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + DEADLINE_S
        while True:
            answer = self._next(end)
            assert answer is not None, f"{method}: no answer"
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self, end: float) -> dict[str, Any] | None:
        """The next message, noted if it is an event; None if there is none until `end`."""
        while b"\0" not in self._read:
            left = end - time.monotonic()
            if not select.select([self._in], [], [], max(0.0, left))[0]:
                return None
            data = os.read(self._in, 1 << 20)
            assert data, "chromium has ended"
            self._read += data
        raw, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        if "method" in message:
            self.events.append(message)
        return message

    def listen(self, seconds: float) -> None:
        """Note events for a while."""
        end = time.monotonic() + seconds
        while self._next(end) is not None:
            pass

    def of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of a kind so far."""
        return [event["params"] for event in self.events if event["method"] == method]

    # --- what a person does and sees

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise PageError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """The text of the first such element; "" where there is none."""
        found: str = self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return found

    def wait(self, what: str, expression: str) -> Any:
        """The value of an expression once it is true."""
        return wait_for(what, lambda: self.evaluate(expression))

    def size(self, width: int, height: int, *, mobile: bool = False, scale: float = 1.0) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )
        self.ask("Emulation.setTouchEmulationEnabled", enabled=mobile)

    def scheme(self, name: str) -> None:
        """prefers-color-scheme: light or dark."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def click(self, x: float, y: float, *, touch: bool = False) -> None:
        if touch:
            self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
            self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            return
        self._mouse("mouseMoved", x, y)
        self._mouse("mousePressed", x, y)
        self._mouse("mouseReleased", x, y)

    def drag(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        *,
        steps: int = 10,
        shift: bool = False,
    ) -> None:
        self._mouse("mouseMoved", *start, shift=shift)
        self._mouse("mousePressed", *start, shift=shift)
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, end, strict=True))
            self._mouse("mouseMoved", x, y, shift=shift, held=True)
        self._mouse("mouseReleased", *end, shift=shift)

    def _mouse(self, kind: str, x: float, y: float, *, shift: bool = False, held: bool = False) -> None:
        button = "left" if held or kind != "mouseMoved" else "none"
        params = {"type": kind, "x": x, "y": y, "button": button, "modifiers": 8 * shift}
        self.ask("Input.dispatchMouseEvent", **params, clickCount=int(kind != "mouseMoved"))

    def key(self, key: str, *, shift: bool = False) -> None:
        """One key, by its name in the DOM."""
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 * shift, **(text if kind == "keyDown" else {})
            )

    def place(self, selector: str) -> dict[str, float]:
        """The rectangle of an element, scrolled into sight: left, top, width, height."""
        found: dict[str, float] | None = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'});"
            " const {left, top, width, height} = e.getBoundingClientRect(); return {left, top, width, height}; })()"
        )
        assert found is not None, selector
        return found

    def press(self, selector: str, *, touch: bool = False) -> None:
        """Click in the middle of an element."""
        at = self.place(selector)
        self.click(at["left"] + at["width"] / 2, at["top"] + at["height"] / 2, touch=touch)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, what the CSP has forbidden, failed requests and answers."""
        self.listen(0.05)
        console = [
            f"console: {each['args']}"
            for each in self.of("Runtime.consoleAPICalled")
            if each["type"] in ("error", "warning")
        ]
        thrown = [f"exception: {each['exceptionDetails']}" for each in self.of("Runtime.exceptionThrown")]
        logged = [f"log: {each['entry']['text']} {each['entry'].get('url')}" for each in self.of("Log.entryAdded")]
        failed = [f"failed: {each}" for each in self.of("Network.loadingFailed") if not each.get("canceled")]
        return [*console, *thrown, *logged, *failed]

    def requests(self) -> list[str]:
        """The URLs of all requests so far."""
        self.listen(0.05)
        return [each["request"]["url"] for each in self.of("Network.requestWillBeSent")]
