"""The doctor tries what it names, says in one line what is missing, and survives whatever fails."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from weights.files import mimo_state, write_safetensors

from vdeblur.measure import doctor
from vdeblur.weights import places


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[doctor.Report]:
    """A whole examination, with a tiny stand-in for the shipped weights."""
    folder = tmp_path_factory.mktemp("package")
    write_safetensors(folder / "mimo-unet-tiny.safetensors", mimo_state(stem="half"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "package_folder", lambda: folder)
        yield doctor.examine()


def test_every_subject_is_looked_at(report: doctor.Report) -> None:
    subjects = {check.subject for check in report.checks}
    assert subjects == {"version", "processor", "memory", "GPU", "encoder", "runtime", "weights", "speed"}
    for subject, words in report.describe():
        assert subject
        assert words.strip()
        assert "\n" not in words


def test_versions_and_processor_are_named(report: doctor.Report) -> None:
    words = " ".join(check.found for check in report.of("version"))
    for name in ("Python", "torch", "av", "FFmpeg", "vdeblur"):
        assert name in words
    assert "cores" in report.of("processor")[0].found


def test_encoders_really_encode(report: doctor.Report) -> None:
    found = {check.found.split(" ")[0]: check for check in report.of("encoder")}
    assert {"libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks", "h264_nvenc"} <= set(found)
    for name in ("libx264", "ffv1", "prores_ks"):
        assert found[name].works
        assert "bytes for a frame" in found[name].found


def test_speed_is_measured_and_called_an_estimate(report: doctor.Report) -> None:
    speed = report.of("speed")
    assert all(check.works for check in speed)
    assert "mimo-unet-tiny on " in speed[0].found
    assert "at 640x360" in speed[0].found
    assert "at 1280x720" in speed[0].found
    assert "estimates" in speed[-1].found


def test_each_quality_is_a_choice_with_a_rate(report: doctor.Report) -> None:
    found = [check.found for check in report.of("speed") if check.found.startswith("--quality ")]
    assert [line.split()[1] for line in found] == ["fast:", "balanced:", "best:"]
    assert all("frames/s at 1280x720" in line for line in found)
    assert "mimo-unet-tiny@ensemble on " in found[2]


def test_weights_that_are_here_are_listed(report: doctor.Report) -> None:
    assert [check.found.split(" ")[0] for check in report.of("weights")] == ["mimo-unet-tiny"]


def test_a_look_that_fails_is_a_line_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[doctor.Finding]:
        yield "the first half", True
        raise OSError("the second\nhalf is lost")

    for name in ("_versions", "_processor", "_gpus", "_encoders", "_runtimes", "_weights", "_speed"):
        monkeypatch.setattr(doctor, name, broken)
    rows = doctor.examine().describe()
    assert rows[:2] == [("version", "the first half"), ("version", "no: the second half is lost")]
    assert [words for subject, words in rows if subject == "speed"][-1] == "no: the second half is lost"
    assert any(subject == "memory" and "GiB free" in words for subject, words in rows)


def test_one_encoder_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def encoded(name: str) -> int:
        if name == "libx265":
            raise RuntimeError("no room")
        return 7

    monkeypatch.setattr(doctor, "_encoded_bytes", encoded)
    failed = [found for found, works in doctor._encoders() if not works]
    assert failed == ["libx265 (hevc): no room"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ImportError("libGL.so.1: cannot open shared object file: No such file or directory"),
            "the system library libGL.so.1 is missing (Debian and Ubuntu: apt-get install libgl1)",
        ),
        (
            ImportError("libgthread-2.0.so.0: cannot open shared object file: No such file or directory"),
            "apt-get install libglib2.0-0",
        ),
        (
            ImportError("libodd.so.9: cannot open shared object file"),
            "libodd.so.9 is missing",
        ),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "cv2: not installed"),
        (ModuleNotFoundError("No module named 'numpy'", name="numpy"), "cv2: needs numpy"),
        (RuntimeError("odd\nthing"), "cv2: does not load, odd thing"),
    ],
)
def test_a_library_that_does_not_load_says_what_to_install(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def load(name: str, *rest: Any) -> Any:
        if name == "cv2":
            raise error
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", load)
    ((found, works),) = [line for line in doctor._runtimes() if "cv2" in line[0]]
    assert not works
    assert words in found


def test_a_broken_weights_file_is_not_called_good() -> None:
    folder = places.imported_folder()
    folder.mkdir(parents=True)
    Path(folder / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    assert ("broken (broken file)", False) in list(doctor._weights())


def test_nothing_heavy_is_imported_before_the_examination() -> None:
    program = "import sys, vdeblur.measure.doctor; print(sorted({'torch', 'cv2', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
