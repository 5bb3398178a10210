"""Streams over the network and through pipes: an end is an end; one that breaks, stalls or floods is said."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from video import media
from video.through import hashes, leftovers

from vdeblur.cli.main import main
from vdeblur.jobs import memory
from vdeblur.video.carry import Carry

Serve = Callable[[socket.socket, bytes], None]


def _head(length: int | None) -> bytes:
    size = f"Content-Length: {length}\r\n" if length is not None else ""
    return f"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n{size}Connection: close\r\n\r\n".encode()


def _whole(to: socket.socket, data: bytes) -> None:
    to.sendall(_head(len(data)) + data)


def _ends_without_a_length(to: socket.socket, data: bytes) -> None:
    to.sendall(_head(None) + data)


def _breaks(to: socket.socket, data: bytes) -> None:
    to.sendall(_head(len(data)) + data[: len(data) * 6 // 10])


def _resets(to: socket.socket, data: bytes) -> None:
    _breaks(to, data)
    time.sleep(0.2)
    to.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def _stalls(to: socket.socket, data: bytes) -> None:
    _breaks(to, data)
    to.settimeout(20)
    to.recv(1)  # until the other side gives up


def _floods(to: socket.socket, data: bytes) -> None:
    to.sendall(_head(None))
    while True:
        to.sendall(data)


def _babbles(to: socket.socket, data: bytes) -> None:
    to.sendall(_head(None))
    while True:
        to.sendall(os.urandom(1 << 16))


class Sender:
    """Answers every connection on a local port in one way, until it is closed."""

    def __init__(self, serve: Serve, data: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/clip.ts"
        self._open = True
        self._serve, self._data = serve, data
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while self._open:
            with contextlib.suppress(TimeoutError):
                there, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._answer, args=(there,)))
                self._threads[-1].start()

    def _answer(self, there: socket.socket) -> None:
        with there, contextlib.suppress(OSError):
            there.settimeout(20)
            there.recv(65536)
            self._serve(there, self._data)

    def close(self) -> None:
        self._open = False
        for thread in self._threads:
            thread.join()
        self._listener.close()


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Callable[[Serve], str]]:
    """Two seconds of a transport stream, sent in the way that is asked for; gives its address."""
    made = media.make("mpegts", tmp_path, pts=[9000 + 3600 * n for n in range(50)])
    data = made.path.read_bytes()
    made.path.unlink()
    with contextlib.ExitStack() as stack:

        def start(serve: Serve) -> str:
            return stack.enter_context(contextlib.closing(Sender(serve, data))).url

        yield start


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vdeblur.video.source.TIMEOUT_S", 3.0)


def _passed(source: str | Path, out: Path, *more: str) -> int:
    """Run without a network; the exit code."""
    return main([str(source), "-o", str(out), "--strength", "0", "--preset", "ultrafast", *more])


def _frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize("serve", [_whole, _ends_without_a_length])
def test_a_stream_that_ends_is_done(serve: Serve, tmp_path: Path, sending: Callable[[Serve], str]) -> None:
    out = tmp_path / "out.mkv"
    assert _passed(sending(serve), out) == 0
    assert _frames(out) == 50


@pytest.mark.parametrize("serve", [_breaks, _resets, _stalls])
def test_a_stream_that_breaks_or_stalls_is_said_and_kept_if_wanted(
    serve: Serve, tmp_path: Path, sending: Callable[[Serve], str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mkv"
    url = sending(serve)
    assert _passed(url, out) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vdeblur:")]
    assert len(errors) == 1
    assert "breaks off at" in errors[0]
    assert "--keep-partial" in errors[0]
    assert list(tmp_path.iterdir()) == []
    assert _passed(url, out, "--keep-partial") == 0
    assert "breaks off at" in capsys.readouterr().err
    assert 20 <= _frames(out) <= 32
    assert leftovers(tmp_path) == []


def test_of_a_stream_that_never_ends_a_part_can_be_taken(
    tmp_path: Path, sending: Callable[[Serve], str]
) -> None:
    out = tmp_path / "out.mkv"
    assert _passed(sending(_floods), out, "--end", "1") == 0
    assert 20 <= _frames(out) <= 25  # its sound begins a little earlier


def test_noise_without_end_is_refused(
    tmp_path: Path, sending: Callable[[Serve], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _passed(sending(_babbles), tmp_path / "out.mkv") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# -- what passes by while pictures are waited for

ROOM = 400_000
SOUND = {"codec": "pcm_s16le"}  # 96 kB a second


@pytest.fixture
def most_waiting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of packets that waited, after each that came; there is room for three seconds of sound."""
    monkeypatch.setattr(memory, "for_waiting", lambda plan: ROOM)
    offer, found = Carry.offer, [0]

    def watched(self: Carry, packet: Any) -> None:
        offer(self, packet)
        found.append(self._taken.total())

    monkeypatch.setattr(Carry, "offer", watched)
    return found


@pytest.fixture
def badly_woven(tmp_path: Path) -> Path:
    """Twenty seconds of sound, then their pictures."""
    made = media.write_clip(tmp_path / "well.mkv", frames=20, rate=1, audio=(SOUND,))
    return media.badly_woven(made.path, tmp_path / "badly.mkv")


def test_a_badly_woven_file_loses_nothing_and_needs_no_memory(
    badly_woven: Path, tmp_path: Path, most_waiting: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mkv"
    assert _passed(badly_woven, out) == 0
    assert "20 of 20 frames on time" in capsys.readouterr().out
    assert hashes(out)[1] == hashes(badly_woven)[1]
    assert ROOM / 2 < max(most_waiting) < ROOM
    with av.open(str(out)) as container:  # woven well again
        reached = {0: 0.0, 1: 0.0}
        for packet in container.demux():
            if packet.size:
                reached[packet.stream.index] = float(packet.pts * packet.time_base)
                assert abs(reached[0] - reached[1]) < 2.5


def test_of_a_badly_woven_stream_the_sound_is_given_up_in_one_line(
    badly_woven: Path,
    tmp_path: Path,
    most_waiting: list[int],
    sending: Callable[[Serve], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def serve(to: socket.socket, data: bytes) -> None:
        _whole(to, badly_woven.read_bytes())

    out = tmp_path / "out.mkv"
    assert _passed(sending(serve), out) == 0
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if "stream 1 is given up at 0.00 s" in line]
    assert len(said) == 1, lines
    assert "save the source as a file first" in said[0]
    assert max(most_waiting) <= ROOM
    assert list(hashes(out)) == [0]
    assert _frames(out) == 20


def test_a_pipe_without_a_picture_is_given_up_in_one_line(badly_woven: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from vdeblur.cli.main import main; from vdeblur.video import pipe; "
        "pipe._MOST_HEAD = 1 << 20; sys.exit(main(['-', '-o', 'out.mkv', '--strength', '0']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=badly_woven.read_bytes(),
        capture_output=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == ["vdeblur: stdin: no picture within its first 1 MiB"]


def test_sound_before_a_range_of_a_stream_does_not_wait(
    tmp_path: Path,
    most_waiting: list[int],
    sending: Callable[[Serve], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Room for all that is read before the first frame is written, but not for the 19 seconds before that.
    monkeypatch.setattr(memory, "for_waiting", lambda plan: 2 * ROOM)
    made = media.write_clip(tmp_path / "well.mkv", frames=200, rate=10, audio=(SOUND,), options={"g": "10"})

    def serve(to: socket.socket, data: bytes) -> None:
        _whole(to, made.path.read_bytes())

    out = tmp_path / "out.mkv"
    assert _passed(sending(serve), out, "--start", "19") == 0
    assert max(most_waiting) <= 2 * ROOM
    with av.open(str(out)) as container:
        sound = [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.size]
    assert sound[0] < 0.1
    assert sound[-1] > 0.9


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("keep", [False, True])
def test_a_flood_is_stopped_by_ctrl_c(keep: bool, tmp_path: Path, sending: Callable[[Serve], str]) -> None:
    words = [sending(_floods), "-o", "out.mkv", "--strength", "0", "--preset", "ultrafast"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vdeblur", *words, *(["--keep-partial"] if keep else [])],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    deadline = time.monotonic() + 60
    while not any(tmp_path.iterdir()) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1].startswith("vdeblur: stopped")
    assert [p.name for p in tmp_path.iterdir()] == (["out.mkv"] if keep else [])
    if keep:
        assert "are kept in out.mkv" in said
        assert _frames(tmp_path / "out.mkv") > 0


def _piped(tmp_path: Path, data: bytes, *words: str, hold: bool = False) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "vdeblur", "-", "-o", "out.mkv", "--strength", "0", *words],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(data)
        process.stdin.flush()
        if not hold:
            process.stdin.close()
            process.stdin = None
    return process  # type: ignore[return-value]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_pipe_that_stalls_does_not_hold_ctrl_c(tmp_path: Path) -> None:
    made = media.make("mpegts", tmp_path, pts=[9000 + 3600 * n for n in range(200)])
    data = made.path.read_bytes()
    made.path.unlink()
    process = _piped(tmp_path, data[: len(data) * 9 // 10], hold=True)
    written: list[int] = []
    while len(written) < 8 or written[-1] != written[-8] or not written[-1]:  # until all that came is done
        assert process.poll() is None
        written.append(sum(file.stat().st_size for file in tmp_path.iterdir()))
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=15)
    took = time.monotonic() - began
    if process.poll() is None:
        process.kill()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert took < 10
    assert list(tmp_path.iterdir()) == []
