"""The whole command on small clips: planes, times, threads, ends."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video import media

from vdeblur.cli.main import main
from vdeblur.frame import Fate, Frame
from vdeblur.jobs import deblur
from vdeblur.jobs.dry_run import described
from vdeblur.jobs.plan import Options, make_plan


def planes_of(path: Path) -> list[list[bytes]]:
    """Every plane of every frame as the decoder gives it, without row padding."""
    result = []
    with av.open(str(path)) as source:
        for frame in source.decode(video=0):
            rows = []
            for number, plane in enumerate(frame.planes):
                data = np.frombuffer(plane, np.uint8).reshape(plane.height, abs(plane.line_size))
                count = plane.width * _bytes_per_sample(frame.format, number)
                rows.append(data[:, :count].tobytes())
            result.append(rows)
    return result


def _bytes_per_sample(pixel_format: Any, plane: int) -> int:
    parts = [c for c in pixel_format.components if c.plane == plane]
    return len(parts) * (2 if parts[0].bits > 8 else 1)


class FakeEngine:
    """Stands where the Deblurrer stands; `work` sees each frame."""

    def __init__(self, work: Any = lambda frame: frame) -> None:
        self.work = work

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *error: object) -> None: ...

    notes: tuple[str, ...] = ()

    def estimate_s_per_frame(self, layout: object) -> float:
        return 0.001

    is_open = False

    def describe(self, layout: object) -> dict[str, Any]:
        return {"device": "fake", **({"way": "float16"} if self.is_open else {})}

    def deblur(self, frames: Any) -> Iterator[Frame]:
        for frame in frames:
            self.is_open = True
            yield self.work(frame)


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a function in the network's place."""

    def install(work: Any = lambda frame: frame) -> None:
        from vdeblur.engine.deblurrer import Deblurrer

        monkeypatch.setattr(Deblurrer, "load", lambda *args, **options: FakeEngine(work))

    return install


LOSSLESS = [
    *("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuv420p10le", "yuv422p10le", "yuv444p12le", "yuva420p"),
    *("gray", "gray10le", "gbrp", "gbrp10le"),
]


@pytest.mark.parametrize("pix_fmt", LOSSLESS)
def test_strength_zero_into_a_lossless_codec_gives_identical_planes(pix_fmt: str, tmp_path: Path) -> None:
    made_by = {"yuvj420p": "mjpeg", "gbrp": "libx265"}.get(pix_fmt, "ffv1")
    colour = None if pix_fmt.startswith("gbr") else media.BT709
    made = media.write_clip(tmp_path / "in.mkv", codec=made_by, pix_fmt=pix_fmt, frames=4, colour=colour)
    lossless = ["--codec", "ffv1"]
    if pix_fmt == "gbrp":  # FFV1 has no planar RGB of 8 bit
        lossless = ["--codec", "h265", "--encoder-option", "x265-params=lossless=1"]
    out = tmp_path / "out.mkv"
    assert main([str(made.path), "-o", str(out), "--strength", "0", "--quiet", *lossless]) == 0
    assert planes_of(out) == planes_of(made.path)


def test_strength_zero_keeps_the_planes_of_nv12(tmp_path: Path) -> None:
    """No lossless codec takes nv12 itself: its chroma is written as two planes with the same values."""
    made = media.write_clip(tmp_path / "in.mkv", codec="rawvideo", pix_fmt="nv12", frames=3)
    out = tmp_path / "out.mkv"
    assert main([str(made.path), "-o", str(out), "--strength", "0", "--quiet", "--codec", "ffv1"]) == 0
    apart = [[luma, chroma[0::2], chroma[1::2]] for luma, chroma in planes_of(made.path)]
    assert planes_of(out) == apart


def test_network_result_reaches_the_file(tmp_path: Path, fake_engine: Any) -> None:
    def brighter(frame: Frame) -> Frame:
        planes = (np.minimum(frame.planes[0], 225) + np.uint8(10), *frame.planes[1:])
        return dataclasses.replace(frame, planes=planes, fate=Fate.DEBLURRED)

    fake_engine(brighter)
    made = media.write_clip(tmp_path / "in.mkv", codec="ffv1")
    result = deblur.deblur_file(made.path, tmp_path / "out.mkv", codec="ffv1", model="mimo-unet-tiny")
    before, after = planes_of(made.path), planes_of(result.target)
    for old, new in zip(before, after, strict=True):
        expected = np.minimum(np.frombuffer(old[0], np.uint8), 225) + 10
        np.testing.assert_array_equal(np.frombuffer(new[0], np.uint8), expected)
        assert old[1:] == new[1:]
    assert result.ledger.fates == {Fate.DEBLURRED: made.frames}


def test_report_tells_what_the_engine_chose_at_the_first_frame(tmp_path: Path, fake_engine: Any) -> None:
    fake_engine()
    made = media.write_clip(tmp_path / "in.mkv", codec="ffv1")
    result = deblur.deblur_file(made.path, tmp_path / "out.mkv", codec="ffv1", model="mimo-unet-tiny")
    assert result.report()["settings"]["way"] == "float16"


def test_report_tells_every_frame(tmp_path: Path) -> None:
    made = media.make("vfr", tmp_path)
    report = tmp_path / "report.json"
    assert (
        main([str(made.path), "-o", str(tmp_path / "o.mp4"), "--strength", "0", "--report", str(report)]) == 0
    )
    told = json.loads(report.read_text(encoding="utf-8"))
    assert [row["pts"] for row in told["frames"]] == list(made.pts)
    assert {row["fate"] for row in told["frames"]} == {"passed"}
    assert told["totals"]["frames"] == made.frames
    assert told["versions"]["av"] == av.__version__
    assert told["settings"]["strength"] == 0
    assert set(told["totals"]["stages_s"]) == {"decode", "engine", "encode", "close", "verify"}
    assert told["receipt"]["frames_on_time"] == made.frames
    assert told["receipt"]["faults"] == []


def test_dry_run_prints_the_plan_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = media.make("b_frames_audio", tmp_path)
    assert main([str(made.path), "--strength", "0", "--dry-run", "--report", str(tmp_path / "r")]) == 2
    assert main([str(made.path), "--strength", "0", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "b.deblurred.mp4" in said
    assert "aac" in said
    assert [p.name for p in tmp_path.iterdir()] == ["b.mp4"]


def test_the_plan_tells_every_option_from_its_default(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=3)
    others: dict[str, Any] = dict.fromkeys(
        ("deinterlace", "keep_partial", "overwrite", "restart", "keep_journal"), True
    )
    others |= {"quality": "fast", "model": "mimo-unet-tiny", "precision": "fp32", "backend": "torch"}
    others |= {
        "tile": "512",
        "strength": 0.5,
        "skip_sharp": 0.8,
        "codec": "h265",
        "crf": 30,
        "preset": "fast",
    }
    others |= {"encoder_options": (("tune", "film"),), "video_stream": 0, "start": Fraction(1, 25)}
    others |= {"end": Fraction(2, 25), "compare": "side", "verify": "full", "hwaccel": "none"}
    others |= {"memory": 4 << 30}
    apart = {"device", "weights", "encoder"}  # what differs then is this machine's own
    assert {*others, *apart} == {field.name for field in dataclasses.fields(Options)}
    plain = described(make_plan(str(made.path), None, Options()))
    for name, other in others.items():
        assert described(make_plan(str(made.path), None, Options(**{name: other}))) != plain, name


def test_interlaced_video_is_warned_of_before_the_run_and_once(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mkv", frames=3, interlaced=True)
    plan = make_plan(str(made.path), None, Options(strength=0.0))
    (said,) = [note for note in plan.notes if note.startswith("interlaced")]
    assert deblur.run(plan).ledger.notes.count(said) == 1
    assert not make_plan(str(made.path), tmp_path / "o.mkv", Options(deinterlace=True)).notes


def test_range_starts_at_zero_and_cuts_the_sound(tmp_path: Path) -> None:
    made = media.make("b_frames_audio", tmp_path, frames=50)
    out = tmp_path / "out.mp4"
    assert (
        main([str(made.path), "-o", str(out), "--strength", "0", "--start", "0.4", "--end", "1.2", "--quiet"])
        == 0
    )
    with av.open(str(out)) as result:
        times = [frame.pts * frame.time_base for frame in result.decode(video=0)]
    assert times == [Fraction(n, 25) for n in range(20)]
    with av.open(str(out)) as result:
        sound = [p.pts * p.time_base for p in result.demux(audio=0) if p.size]
    assert -0.1 < sound[0] < 0.05
    assert 0.7 < sound[-1] < 0.82


def test_seconds_of_a_python_caller_are_those_of_the_command(tmp_path: Path) -> None:
    """0.4 as a float lies behind the frame at two fifths of a second."""
    made = media.write_clip(tmp_path / "in.mp4", frames=20)
    result = deblur.deblur_file(made.path, tmp_path / "out.mp4", strength=0.0, start=0.4, end=0.6)
    assert result.ledger.frames == 5


@pytest.mark.parametrize("strength", ["0", "1"])
def test_side_by_side_is_twice_as_wide(strength: str, tmp_path: Path, fake_engine: Any) -> None:
    fake_engine()
    made = media.write_clip(tmp_path / "in.mkv", codec="ffv1", frames=3)
    words = [str(made.path), "-o", str(tmp_path / "o.mkv"), "--codec", "ffv1", "--compare", "side", "--quiet"]
    assert main([*words, "--model", "mimo-unet-tiny", "--strength", strength]) == 0
    with av.open(str(tmp_path / "o.mkv")) as result:
        frame = next(result.decode(video=0))
        assert (frame.width, frame.height) == (made.size[0] * 2, made.size[1])
        luma = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)
    width = made.size[0]
    np.testing.assert_array_equal(luma[:, :width], luma[:, width : 2 * width])


def test_a_folder_takes_suffixes_that_can_be_written_and_never_loses_a_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    media.write_clip(source / "a.avi", codec="mpeg4", frames=3)
    media.write_clip(source / "a.mkv", frames=3)
    words = [str(source), "-o", str(tmp_path / "new" / "out"), "--strength", "0"]
    assert main([*words, "--dry-run"]) == 1
    assert not (tmp_path / "new").exists()
    # Both would be a.mkv: the second one is refused, with and without --overwrite.
    for more in ([], ["--overwrite"]):
        capsys.readouterr()
        assert main([*words, *more]) == 1
        said = capsys.readouterr().err
        assert "of this same run" in said
        assert "1 done, 0 there already, 1 failed" in said
        for made in (tmp_path / "new" / "out").iterdir():
            if not more:
                made.unlink()


def test_file_jobs_and_the_demo_need_no_opencv(tmp_path: Path) -> None:
    """Servers and containers often lack the system libraries of its wheel."""
    program = (
        "import sys; sys.modules['cv2'] = None\n"
        "from vdeblur.cli.main import main\n"
        "sys.exit(main(['demo', 'd', '--seconds', '0.1', '--model', 'mimo-unet-tiny']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "d" / "shaken.deblurred.mp4").is_file()


def test_sharp_frames_are_skipped_and_counted(
    tmp_path: Path, fake_engine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sharp, blurred and sharp frames again: only the blurred ones meet the network, the others stay."""
    from skimage import data

    sharp = data.camera()[200:488, 60:444]
    blurred = np.mean([np.roll(sharp, i, 1) for i in range(9)], axis=0).astype(np.uint8)
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 384, 288, "gray"
        for picture in (sharp, sharp, blurred, blurred, blurred, sharp):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "gray")))
        container.mux(stream.encode())
    seen: list[int] = []

    def darker(frame: Frame) -> Frame:
        seen.append(frame.index)
        return dataclasses.replace(frame, planes=(frame.planes[0] // 2,), fate=Fate.DEBLURRED)

    fake_engine(darker)
    out, report = tmp_path / "out.mkv", tmp_path / "report.json"
    words = ["--codec", "ffv1", "--model", "mimo-unet-tiny", "--report", str(report)]
    assert main([str(source), "-o", str(out), "--skip-sharp", "auto", *words]) == 0
    assert seen == [2, 3, 4]
    before, after = planes_of(source), planes_of(out)
    assert [old == new for old, new in zip(before, after, strict=True)] == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]
    assert "3 frames passed (sharp already)" in capsys.readouterr().err
    assert "sharp already" in report.read_text()
    assert main([str(source), "-o", str(out), "--overwrite", *words]) == 0
    assert seen[3:] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("word", ["maybe", "0", "-1", "nan"])
def test_skip_sharp_takes_no_nonsense(word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = media.write_clip(tmp_path / "in.mkv", codec="ffv1")
    assert main([str(made.path), f"--skip-sharp={word}"]) == 2
    assert "give auto, off or a number" in capsys.readouterr().err
