"""A real window on a display that nobody sees: keys and mouse do what they say, and nothing waits for it."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from jobs.live.display import Display, Pixels, await_, status, virtual_display

from vdeblur.errors import MissingRuntimeError
from vdeblur.jobs.live.view import Controls, View
from vdeblur.jobs.live.window import Window, _reason

WIDTH, HEIGHT = 640, 360
RED, BLUE = (200, 30, 30), (30, 30, 200)


def plain(colour: tuple[int, int, int]) -> Pixels:
    return np.full((HEIGHT, WIDTH, 3), colour, np.uint8)


@contextmanager
def shown(display: Display, controls: Controls, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    """A window that is shown red before and blue after, 20 times a second, as the loop would."""
    monkeypatch.setenv("DISPLAY", display.name)
    window, over = Window(controls), threading.Event()

    def loop() -> None:
        while not over.wait(0.05):
            window.show(View(plain(RED), plain(BLUE), time.monotonic(), status(controls)))

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        display.focus()
        await_(lambda: display.box()[2:] == (WIDTH, HEIGHT), "the window in the picture's size")
        yield window
    finally:
        over.set()
        thread.join()
        window.close()


@pytest.fixture(scope="module")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Display]:
    with virtual_display(tmp_path_factory.mktemp("display")) as running:
        yield running


def is_(pixels: Pixels, colour: tuple[int, int, int]) -> bool:
    return bool(pixels.size and (np.abs(pixels.astype(int) - colour) <= 2).all())


def border(display: Display) -> int | None:
    """Where red ends and blue begins in the middle row; None where it is not so."""
    row = display.window()[150]  # the pointer is elsewhere
    red, blue = ((np.abs(row.astype(int) - colour) <= 2).all(axis=1) for colour in (RED, BLUE))
    end = int(red.sum())
    return end if red[:end].all() and blue[end + 6 :].all() else None


def near(value: int | None, goal: int) -> bool:
    return value is not None and abs(value - goal) <= 4


def test_mouse_drags_the_line_and_c_goes_through_the_ways_to_compare(
    display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shown(display, Controls(), monkeypatch):
        await_(lambda: near(border(display), 320), "the line in the middle")
        display.drag((320, 200), (100, 200))
        await_(lambda: near(border(display), 100), "the line further left")
        display.drag((100, 200), (500, 200))
        await_(lambda: near(border(display), 500), "the line further right")
        display.key("c")
        await_(lambda: is_(display.window()[110:190, 5:315], RED), "the source at the left")
        await_(lambda: is_(display.window()[110:190, 325:635], BLUE), "the result at the right")
        assert is_(display.window()[70:88, 400:], (0, 0, 0))  # the pictures keep their shape
        display.key("c")
        await_(lambda: is_(display.window()[100:190], BLUE), "the result alone")
        display.key("c")
        await_(lambda: near(border(display), 500), "the line where it was")


def test_keys_are_wishes(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    controls = Controls()
    with shown(display, controls, monkeypatch) as window:
        display.key("space")
        await_(lambda: controls.frozen, "freezing")
        display.key("space")
        await_(lambda: not controls.frozen, "going on")
        display.key("minus")
        display.key("minus")
        await_(lambda: controls.strength == 0.8, "less strength")
        display.key("plus")
        await_(lambda: controls.strength == 0.9, "more strength")
        display.key("r")
        await_(lambda: controls.recording, "recording")
        display.key("r")
        await_(lambda: not controls.recording, "the end of recording")
        display.key("s")
        await_(controls.take_snapshot_wish, "a snapshot")
        for name in ("Left", "Right", "F1"):  # their codes end in those of letters
            display.key(name)
        before = display.window()[100:260, 200:440].copy()
        display.key("question")
        await_(lambda: not np.array_equal(before, display.window()[100:260, 200:440]), "help")
        display.key("question")
        await_(lambda: np.array_equal(before, display.window()[100:260, 200:440]), "no help")
        assert not window.closed()
        assert (controls.strength, controls.frozen, controls.recording) == (0.9, False, False)


@pytest.mark.parametrize("name", ["q", "Escape"])
def test_keys_that_end(name: str, display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    with shown(display, Controls(), monkeypatch) as window:
        assert not window.closed()
        display.key(name)
        await_(window.closed, "the end")


def test_full_screen_and_closing_by_the_window_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        virtual_display(tmp_path, manager=True) as display,
        shown(display, Controls(), monkeypatch) as window,
    ):
        display.key("f")
        await_(lambda: display.box() == (0, 0, 1440, 900), "full screen")
        await_(lambda: is_(display.window()[120:780, :700], RED), "the picture in all of it")
        await_(lambda: is_(display.window()[120:780, 740:], BLUE), "the picture in all of it")
        display.key("f")
        await_(lambda: display.box()[2:] == (WIDTH, HEIGHT), "a window again")
        assert not window.closed()
        display.key("alt+F4")
        await_(window.closed, "the end")


def test_messages_are_shown_until_they_are_over(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display.name)
    controls = Controls()
    window = Window(controls)
    try:
        place = (slice(255, 310), slice(210, 310))  # left of the line

        def tell(message: str | None) -> None:
            window.show(View(plain(RED), plain(RED), time.monotonic(), status(controls, message)))

        tell("camera lost, trying again in 2 s")
        display.awaken()
        await_(lambda: np.ptp(display.window()[place], axis=(0, 1)).max() > 100, "letters")
        tell(None)
        await_(lambda: is_(display.window()[place], RED), "no message")
    finally:
        window.close()


def test_a_window_that_hangs_does_not_hold_up_the_loop(
    display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures of a stopped window replace each other; when it goes on it shows the newest."""
    monkeypatch.setenv("DISPLAY", display.name)
    controls = Controls()
    window = Window(controls)
    try:
        window.show(View(plain(RED), plain(RED), time.monotonic(), status(controls)))
        display.awaken()
        await_(lambda: is_(display.window()[120:300, :300], RED), "the first picture")
        os.kill(window._process.pid, signal.SIGSTOP)
        for _ in range(200):
            window.show(View(plain(RED), plain(RED), time.monotonic(), status(controls)))
        window.show(View(plain(BLUE), plain(BLUE), time.monotonic(), status(controls)))
        os.kill(window._process.pid, signal.SIGCONT)
        await_(lambda: is_(display.window()[120:300, :300], BLUE), "the newest picture")
    finally:
        window.close()
    window.close()
    assert window.closed()


def test_the_window_process_draws_the_newest_of_what_has_come() -> None:
    from vdeblur.jobs.live.window_process import Inbox

    views = [View(plain(RED), plain(BLUE), float(number), status(Controls())) for number in range(3)]
    inbox = Inbox(io.BytesIO(b"".join(pickle.dumps(view, protocol=5) for view in views)))
    await_(lambda: inbox.ended, "the end of the input")
    newest = inbox.take()
    assert newest is not None
    assert newest.captured_at_s == 2.0
    assert np.array_equal(newest.after, views[2].after)
    assert inbox.take() is None


def test_a_window_that_dies_ends_the_run(display: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    with shown(display, Controls(), monkeypatch) as window:
        os.kill(window._process.pid, signal.SIGKILL)
        await_(window.closed, "the end")


def test_why_no_window_opens_is_said_in_few_words() -> None:
    without = (
        "Traceback (most recent call last):\n  File ...\ncv2.error: OpenCV(5.0.0) window.cpp:1: error: (-2) "
    )
    without += "The function is not implemented. Rebuild the library with Windows, GTK+ 2.x or Cocoa support."
    assert "instead of opencv-python-headless" in _reason(without)
    assert _reason("qt.qpa.xcb: could not connect to display :9\nmore\n") == "could not connect to display :9"
    assert _reason("Traceback (most recent call last):\n  File ...\nImportError: libGL.so.1\n").endswith(
        "libGL.so.1"
    )
    assert _reason("")


def test_ctrl_c_while_the_window_opens_leaves_nothing_that_the_program_waits_for(
    display: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", display.name)
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        Window(Controls())
    await_(lambda: "Timer" not in str([t for t in threading.enumerate() if not t.daemon]), "no timer")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
@pytest.mark.parametrize(
    ("name", "reason"), [("", "DISPLAY is not set"), (":4711", "connect to display :4711")]
)
def test_no_display_is_one_line(name: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", name)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(MissingRuntimeError, match=reason) as stop:
        Window(Controls())
    assert "\n" not in str(stop.value)
    assert "--web" in str(stop.value)


def test_the_window_process_never_loads_pyav() -> None:
    """OpenCV's window hangs in a process that has loaded PyAV before (PyAV-Org/PyAV#978)."""
    attempt = "import sys, vdeblur.jobs.live.window_process; print({'av', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", attempt], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
