"""The live page: pictures move, controls control, strangers stay outside, a slow viewer holds up nobody."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from jobs.live.display import Pixels, await_, status
from measure.browser import Browser, chromium

from vdeblur.cli.live import _viewers
from vdeblur.errors import InputError, MissingRuntimeError
from vdeblur.jobs.live.view import Controls, View
from vdeblur.jobs.live.web import Door, Web, address

websockets = pytest.importorskip("websockets")
from websockets.exceptions import InvalidStatus  # noqa: E402
from websockets.sync.client import ClientConnection, connect  # noqa: E402

WIDTH, HEIGHT = 320, 180


def plain(red: int, green: int, blue: int) -> Pixels:
    return np.full((HEIGHT, WIDTH, 3), (red, green, blue), np.uint8)


def view(controls: Controls, before: Pixels, after: Pixels, message: str | None = None) -> View:
    return View(before, after, time.monotonic(), status(controls, message))


@contextmanager
def opened(controls: Controls, **where: Any) -> Iterator[Web]:
    web = Web(controls, **{"port": 0, **where})
    try:
        yield web
    finally:
        web.close()


@contextmanager
def playing(web: Web, make: Callable[[int], View]) -> Iterator[None]:
    """`make(number)` is shown 20 times a second, as the loop would."""
    over = threading.Event()

    def loop() -> None:
        number = 0
        while not over.wait(0.05):
            web.show(make(number))
            number += 1

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def live_url(web: Web) -> str:
    return web.url.replace("http:", "ws:").replace("/?", "/live?") + ("" if "?" in web.url else "live")


def received(client: ClientConnection) -> tuple[dict[str, Any], bytes]:
    """The header and the pictures of the next message."""
    message = client.recv(timeout=20)
    assert isinstance(message, bytes)
    (length,) = struct.unpack_from(">I", message)
    return json.loads(message[4 : 4 + length]), message[4 + length :]


# In the browser.


def colour(browser: Browser, share: float) -> list[int]:
    """What the canvas holds in its middle row, so far from the left."""
    return browser.run(
        "const c = document.querySelector('canvas');"
        f"return [...c.getContext('2d').getImageData(c.width * {share}, c.height / 2, 1, 1).data].slice(0, 3)"
    )


def is_red(pixel: list[int]) -> bool:
    return pixel[0] > 150 and pixel[2] < 80


def is_blue(pixel: list[int]) -> bool:
    return pixel[2] > 150 and pixel[0] < 80


def test_two_browsers_see_pictures_that_move_and_compare_each_in_its_own_way(tmp_path: Path) -> None:
    controls = Controls()
    with ExitStack() as stack:
        web = stack.enter_context(opened(controls))
        # Red before, blue after, and a green that grows: whether pictures move.
        make = lambda n: view(controls, plain(200, n % 32 * 2, 0), plain(0, n % 32 * 2, 200))  # noqa: E731
        stack.enter_context(playing(web, make))
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        first, second = (
            stack.enter_context(chromium(tmp_path / name, reach="127.0.0.1")) for name in ("one", "two")
        )
        for browser in (first, second):
            browser.visit(web.url)
            await_(lambda b=browser: is_red(colour(b, 0.25)) and is_blue(colour(b, 0.75)), "a picture")
            greens: set[int] = set()
            await_(lambda b=browser, g=greens: g.add(colour(b, 0.25)[1]) or len(g) > 4, "pictures that move")

        left, top, across, down = first.run(
            "const box = document.querySelector('canvas').getBoundingClientRect();"
            "return [box.x, box.y, box.width, box.height]"
        )
        first.drag((left + across * 0.5, top + down / 2), (left + across * 0.9, top + down / 2))
        await_(lambda: is_red(colour(first, 0.85)) and is_blue(colour(first, 0.97)), "the line at the right")
        assert is_blue(colour(second, 0.75))  # the other's line stays where it was
        for _ in range(5):
            first.press("\ue012")  # arrow left
        await_(lambda: is_blue(colour(first, 0.85)), "the line moved by the keyboard")

        first.press("c")
        await_(
            lambda: first.run("return document.querySelector('canvas').width") == 2 * WIDTH, "both pictures"
        )
        await_(lambda: is_red(colour(first, 0.45)) and is_blue(colour(first, 0.55)), "side by side")
        first.press("c")
        await_(lambda: is_blue(colour(first, 0.02)) and is_blue(colour(first, 0.98)), "the result alone")
        first.press("c")
        await_(lambda: is_red(colour(first, 0.25)), "the split again")

        words = first.run("return document.querySelector('#figures').textContent")
        assert "captured 30.0 fps" in words
        assert "mimo-unet-tiny at 1/2 on cpu" in words


def test_keys_and_buttons_of_the_page_are_wishes_and_what_comes_of_them_is_said(tmp_path: Path) -> None:
    controls = Controls()
    said: list[str | None] = [None]
    with ExitStack() as stack:
        web = stack.enter_context(opened(controls))
        red, blue = plain(200, 0, 0), plain(0, 0, 200)
        stack.enter_context(playing(web, lambda n: view(controls, red, blue, said[0])))
        browser = stack.enter_context(chromium(tmp_path, reach="127.0.0.1"))
        browser.visit(web.url)
        await_(lambda: is_red(colour(browser, 0.25)), "a picture")

        def pressed(name: str) -> bool:
            return browser.run(f"return document.querySelector('#{name}').ariaPressed") == "true"

        browser.press(" ")
        await_(lambda: controls.frozen and pressed("freeze"), "freezing")
        browser.run("document.querySelector('#freeze').focus()")
        browser.press(" ")  # the button's own key: once, not twice
        await_(lambda: not controls.frozen and not pressed("freeze"), "going on")
        browser.run("document.querySelector('#record').click()")
        await_(lambda: controls.recording and pressed("record"), "recording")
        browser.press("r")
        await_(lambda: not controls.recording and not pressed("record"), "the end of recording")
        browser.press("s")
        await_(controls.take_snapshot_wish, "a snapshot")
        browser.press("-")
        await_(lambda: controls.strength == 0.9, "less strength")
        slider = "document.querySelector('#strength')"
        browser.run(f"{slider}.value = 0.5; {slider}.dispatchEvent(new Event('input'))")
        await_(lambda: controls.strength == 0.5, "the strength of the slider")
        browser.press("?")
        assert browser.run("return !document.querySelector('#words').hidden")

        words = 'lost <b id="evil">; trying again'
        said[0] = words
        message = "return document.querySelector('#message').textContent"
        await_(lambda: browser.run(message) == words, "the message")
        assert browser.run("return document.querySelector('#evil')") is None
        web.close()
        await_(lambda: "has ended" in browser.run(message), "word of the end")


def test_nothing_leaves_the_machine(tmp_path: Path) -> None:
    """The page asks for its own files only, and its policy holds even a script of its own back."""
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *words: object) -> None:
            pass

    controls = Controls()
    with ExitStack() as stack:
        other = stack.enter_context(HTTPServer(("127.0.0.1", 0), Elsewhere))
        threading.Thread(target=other.serve_forever, daemon=True).start()
        stack.callback(other.shutdown)
        web = stack.enter_context(opened(controls))
        stack.enter_context(playing(web, lambda n: view(controls, plain(200, n % 9, 0), plain(0, 0, 200))))
        browser = stack.enter_context(chromium(tmp_path, reach="127.0.0.1"))
        browser.visit(web.url)
        await_(lambda: is_red(colour(browser, 0.25)), "a picture")
        names = browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert sorted(names) == [f"{web.url}page.css", f"{web.url}page.js"]
        away = f"http://127.0.0.1:{other.server_port}/"
        attempt = f"fetch('{away}fetch').catch(() => 0); new Image().src = '{away}image'; "
        attempt += f"new WebSocket('{away.replace('http', 'ws')}socket').onerror = () => 0"
        try:
            browser.run(attempt)
        except HTTPError:
            pass  # some browsers throw
        time.sleep(1)
        assert asked == []
        with pytest.raises(HTTPError):
            urlopen(f"{away}control", timeout=20)
        assert asked == ["/control"]  # it would have been seen


# Who may come in.


def answer(url: str, **headers: str) -> int:
    try:
        with urlopen(Request(url, headers=headers), timeout=20) as found:
            return int(found.status)
    except HTTPError as error:
        return error.code


def test_on_this_machine_only_its_own_names_are_answered() -> None:
    with opened(Controls()) as web:
        assert answer(web.url) == HTTPStatus.OK
        assert answer(web.url, Host="localhost:9999") == HTTPStatus.OK  # through a tunnel
        assert answer(web.url, Host="evil.example:8765") == HTTPStatus.FORBIDDEN
        assert answer(web.url + "../../etc/passwd") == HTTPStatus.NOT_FOUND
        own: Any = web.url.rstrip("/")
        for origin in (own, None):
            with connect(live_url(web), origin=origin):
                pass
        for origin in ("http://evil.example", "null"):
            with pytest.raises(InvalidStatus), connect(live_url(web), origin=origin):
                pass


def test_bound_elsewhere_it_wants_its_token() -> None:
    with opened(Controls(), host="0.0.0.0") as web:
        here = web.url.replace(socket.gethostname(), "127.0.0.1")
        page, _, token = here.partition("?token=")
        assert len(token) >= 20
        assert answer(here) == HTTPStatus.OK
        assert answer(page) == HTTPStatus.FORBIDDEN
        assert answer(f"{page}?token={token[:-1]}") == HTTPStatus.FORBIDDEN
        socket_url = page.replace("http:", "ws:") + "live"
        with connect(f"{socket_url}?token={token}"):
            pass
        for wrong in (socket_url, f"{socket_url}?token=", f"{socket_url}?token={token}x"):
            with pytest.raises(InvalidStatus), connect(wrong):
                pass
    with opened(Controls(), host="0.0.0.0") as another:
        assert another.url.partition("?token=")[2] != token


def test_the_door_refuses_without_stumbling() -> None:
    here, away = Door(None), Door("secret")
    assert here.refusal("/", "[::1]:80", None) is None
    assert here.refusal("/", "", None) is not None
    assert here.refusal("http://[", "localhost", None) is not None
    assert here.refusal("/live", "localhost", "http://[") is not None
    assert here.refusal("/", "[", None) is not None
    assert away.refusal("/?token=secr%C3%A4t", "cam.example", None) is not None
    assert away.refusal("/?token=secret", "cam.example", None) is None
    assert away.refusal("/live?token=secret", "cam.example", "http://cam.example") is None
    assert away.refusal("/live?token=secret", "cam.example", "http://evil.example") is not None


# Slow viewers.


def test_a_slow_viewer_gets_the_newest_and_holds_up_nobody() -> None:
    controls = Controls()
    with ExitStack() as stack:
        web = stack.enter_context(opened(controls))
        slow, quick = (stack.enter_context(connect(live_url(web))) for _ in range(2))
        stack.enter_context(
            playing(web, lambda n: view(controls, plain(0, 0, n % 200), plain(9, 9, n % 200)))
        )
        numbers = [received(slow)[0]["number"] for _ in range(2)]
        for _ in range(20):  # the other goes on
            head, pictures = received(quick)
            assert len(pictures) == head["before"] + head["after"] > 0
            quick.send(json.dumps({"seen": head["number"]}))
        with pytest.raises(TimeoutError):  # nothing waits for the slow one
            slow.recv(timeout=0.3)
        slow.send(json.dumps({"seen": numbers[-1]}))
        head, _ = received(slow)
        assert head["number"] > numbers[-1] + 10  # not the next, but the newest
        assert "age" in " ".join(head["figures"])


def test_a_picture_that_stays_is_sent_once_and_only_what_is_wanted() -> None:
    controls = Controls()
    red, blue = plain(200, 0, 0), plain(0, 0, 200)
    with ExitStack() as stack:
        web = stack.enter_context(opened(controls))
        client = stack.enter_context(connect(live_url(web)))
        stack.enter_context(playing(web, lambda n: view(controls, red, blue)))

        def following() -> tuple[int, int]:
            head, pictures = received(client)
            assert len(pictures) == max(head["before"], 0) + max(head["after"], 0)
            client.send(json.dumps({"seen": head["number"]}))
            return head["before"], head["after"]

        both = following()
        assert min(both) > 0
        assert following() == (0, 0)
        client.send(json.dumps({"wants": "after"}))
        await_(lambda: following() == (-1, 0), "no source any more")
        client.send(json.dumps({"wants": "both"}))
        await_(lambda: following()[0] == both[0], "the source again")
        for nonsense in ("", "[]", "{", '{"wish": "format the disk"}', '{"strength": 7}', '{"seen": null}'):
            client.send(nonsense)
        following()
        assert controls.strength == 1.0


# Addresses.


def test_addresses() -> None:
    assert address("8080") == ("127.0.0.1", 8080)
    assert address("0.0.0.0:80") == ("0.0.0.0", 80)
    assert address("[::1]:8080") == ("::1", 8080)
    for wrong in ("", "0", "x", ":80", "70000", "1.2.3.4:", "clip.mp4", "rtsp://cam/1"):
        with pytest.raises(ValueError, match=r".*"):
            address(wrong)


def test_the_command_prints_the_address_with_its_token(capsys: pytest.CaptureFixture[str]) -> None:
    asked = Namespace(web=("0.0.0.0", 0), headless=True, output=None)
    (web,) = _viewers(asked, Controls())
    web.close()
    assert isinstance(web, Web)
    assert web.url in capsys.readouterr().err
    assert "?token=" in web.url


def test_without_the_package_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.asyncio.server", None)
    with pytest.raises(
        MissingRuntimeError, match=r"^--web needs the package websockets: .* -m pip install 'vdeblur\[web\]'$"
    ):
        Web(Controls(), port=0)


def test_a_port_that_is_taken_is_one_line() -> None:
    with (
        opened(Controls()) as web,
        pytest.raises(InputError, match=r"^--web: 127\.0\.0\.1 port \d+ cannot") as e,
    ):
        Web(Controls(), port=int(web.url.rstrip("/").rpartition(":")[2]))
    assert "\n" not in str(e.value)
