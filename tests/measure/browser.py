"""A headless Chromium driven through chromedriver (the WebDriver protocol, by the standard library alone)."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One page in one window."""

    def __init__(self, base: str, session: str) -> None:
        self._session = f"{base}/session/{session}"

    def open(self, path: Path) -> None:
        self.visit(path.resolve().as_uri())

    def visit(self, url: str) -> None:
        call("POST", f"{self._session}/url", {"url": url})

    def press(self, key: str) -> None:
        """A key goes down and up: a letter, or a code of the WebDriver standard such as \ue012."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        call(
            "POST",
            f"{self._session}/actions",
            {"actions": [{"type": "key", "id": "keys", "actions": strokes}]},
        )

    def run(self, script: str) -> Any:
        return call("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def picture(self, selector: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """What is seen of the first element that fits: height x width x 3."""
        found = call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        shot = call("GET", f"{self._session}/element/{found[ELEMENT]}/screenshot")
        return np.asarray(Image.open(BytesIO(b64decode(shot))).convert("RGB"))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """The mouse goes down at one place of the window and up at another."""
        moves = [
            {"type": "pointerMove", "duration": 0, "x": round(start[0]), "y": round(start[1])},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "duration": 100, "x": round(end[0]), "y": round(end[1])},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": moves}
        call("POST", f"{self._session}/actions", {"actions": [mouse]})


@contextmanager
def chromium(folder: Path, reach: str = "") -> Iterator[Browser]:
    """A browser that reaches no machine but `reach`; skips where none is installed or none starts."""
    driver, program = (shutil.which(name) for name in ("chromedriver", "chromium"))
    if driver is None or program is None:
        pytest.skip("no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,900"]
    flags += [
        f"--user-data-dir={folder}/profile",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND" + (f", EXCLUDE {reach}" if reach else ""),
    ]
    wanted = {"browserName": "chrome", "goog:chromeOptions": {"binary": program, "args": flags}}
    running = subprocess.Popen(
        [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    base = f"http://127.0.0.1:{port}"
    try:
        _await(base)
        session = call("POST", f"{base}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        try:
            yield Browser(base, session)
        finally:
            call("DELETE", f"{base}/session/{session}")
    finally:
        running.terminate()
        running.wait(20)


def call(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)["value"]


def _await(base: str) -> None:
    for _ in range(100):
        try:
            if call("GET", f"{base}/status")["ready"]:
                return
        except (URLError, ConnectionError):
            pass
        time.sleep(0.1)
    pytest.skip("chromedriver does not start here")
