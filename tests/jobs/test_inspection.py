"""The receipt of a run: on screen, in the report; a damaged file never takes the target's name."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from video import media
from video.through import leftovers

from vdeblur.cli.main import main
from vdeblur.errors import SuspectError
from vdeblur.jobs.deblur import deblur_file, run
from vdeblur.jobs.inspection import Inspection
from vdeblur.jobs.plan import Options, make_plan
from vdeblur.ledger import Ledger
from vdeblur.video.sink import Sink


def _passed(source: Path, target: Path, **options: Any) -> str:
    """One run without a network; its receipt in one line."""
    result = deblur_file(source, target, strength=0.0, **options)
    assert result.target == target
    assert result.receipt is not None
    return result.receipt.line()


def test_one_line_on_screen_and_in_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = media.make("tracks_chapters_mkv", tmp_path)
    report = tmp_path / "report.json"
    words = [str(made.path), "-o", str(tmp_path / "out.mkv"), "--strength", "0", "--report", str(report)]
    assert main(words) == 0
    line = "kept: 2 audio, 2 subtitles, 1 further video, 1 attachment, 2 chapters; 12 of 12 frames on time"
    assert line in capsys.readouterr().out
    told = json.loads(report.read_text(encoding="utf-8"))["receipt"]
    assert told["kept"] == {"audio": 2, "subtitles": 2, "further videos": 1, "attachments": 1, "chapters": 2}
    assert main([*words, "--overwrite", "--verify", "off"]) == 0
    assert "kept:" not in capsys.readouterr().out
    assert json.loads(report.read_text(encoding="utf-8"))["receipt"] is None


@pytest.fixture
def loses_a_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The muxer swallows the sixth packet of sound."""
    mux, seen = Sink.mux, []

    def swallow(self: Sink, packet: Any) -> None:
        if packet.stream.type == "audio":
            seen.append(packet.pts)
            if len(seen) == 6:
                return
        mux(self, packet)

    monkeypatch.setattr(Sink, "mux", swallow)


@pytest.mark.usefixtures("loses_a_packet")
def test_a_damaged_file_stands_beside_the_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = media.make("b_frames_audio", tmp_path)
    target, report = tmp_path / "out.mp4", tmp_path / "report.json"
    words = [str(made.path), "-o", str(target), "--strength", "0", "--quiet", "--report", str(report)]
    assert main(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vdeblur: {target}: differs from its source: audio 1 (eng) at 0.")
    assert line.endswith("packets missing; kept as out.suspect.mp4")
    assert not target.exists()
    assert (tmp_path / "out.suspect.mp4").is_file()
    assert leftovers(tmp_path) == []
    (fault,) = json.loads(report.read_text(encoding="utf-8"))["receipt"]["faults"]
    assert fault["what"] == "audio 1 (eng)"


@pytest.mark.usefixtures("loses_a_packet")
def test_the_older_target_survives(tmp_path: Path) -> None:
    made = media.make("b_frames_audio", tmp_path)
    (tmp_path / "out.mp4").write_bytes(b"older")
    with pytest.raises(SuspectError) as stop:
        deblur_file(made.path, tmp_path / "out.mp4", strength=0.0, overwrite=True)
    assert stop.value.result.receipt.faults
    assert (tmp_path / "out.mp4").read_bytes() == b"older"


@pytest.mark.parametrize(
    "kind", ["tracks_chapters_mkv", "tracks_chapters_mp4", "hdr10", "rotated", "sar_mkv"]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".ts"])
def test_what_the_plan_announces_is_no_damage(kind: str, suffix: str, tmp_path: Path) -> None:
    made = media.make(kind, tmp_path)
    line = _passed(made.path, tmp_path / f"out{suffix}")
    assert line.endswith("12 of 12 frames on time")


def test_a_damaged_source_is_no_damage_of_ours(tmp_path: Path) -> None:
    made = media.make("b_frames_mkv", tmp_path)
    hurt = media.flip_bits(made.path, tmp_path / "hurt.mkv", seed=3, count=6)
    assert "frames on time" in _passed(hurt, tmp_path / "out.mkv")


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    made = media.make("b_frames_mkv", tmp_path, frames=50)
    assert _passed(made.path, tmp_path / "part.mkv", start=1) == (
        "not verified: only a part of the source was asked for"
    )
    cut = media.cut_off(made.path, tmp_path / "cut.mkv", 0.7)
    assert _passed(cut, tmp_path / "partial.mkv", keep_partial=True) == (
        "not verified: the source breaks off"
    )


def test_addresses_are_not_opened_again(tmp_path: Path) -> None:
    made = media.make("plain", tmp_path)
    plan = make_plan(str(made.path), tmp_path / "out.mp4", Options(strength=0.0))
    far = dataclasses.replace(plan, clip=dataclasses.replace(plan.clip, source="http://somewhere/clip.mp4"))
    inspection = Inspection(far, Ledger())
    assert inspection.approve(made.path) == plan.target
    assert inspection.receipt is not None
    assert inspection.receipt.skipped == "the source cannot be read again"


def test_what_cannot_be_read_back_is_damage_and_a_mistake_of_ours_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = media.make("plain", tmp_path)
    (tmp_path / ".torn.mp4").write_bytes(made.path.read_bytes()[:100])
    plan = make_plan(str(made.path), tmp_path / "out.mp4", Options(strength=0.0))
    inspection = Inspection(plan, Ledger())
    assert inspection.approve(tmp_path / ".torn.mp4").name == "out.suspect.mp4"
    assert "cannot be read back" in inspection.words(tmp_path / "out.suspect.mp4")

    def stumbles(*anything: Any) -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr("vdeblur.jobs.inspection.verify", stumbles)
    assert "the comparison failed (TypeError: a mistake)" in _passed(made.path, tmp_path / "out.mp4")


def test_a_source_that_has_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = media.make("plain", tmp_path)
    plan = make_plan(str(made.path), tmp_path / "out.mp4", Options(strength=0.0))
    approve = Inspection.approve

    def gone_first(self: Inspection, hidden: Path) -> Path:
        made.path.unlink()
        return approve(self, hidden)

    monkeypatch.setattr(Inspection, "approve", gone_first)
    result = run(plan)
    assert result.receipt is not None
    assert "no such file" in result.receipt.line()
    assert result.target.is_file()


PIPED = """
import sys
from pathlib import Path
from vdeblur.jobs.deblur import deblur_file
from vdeblur.video.sink import Sink

mux, seen = Sink.mux, []
def swallow(self, packet):
    seen.append(packet.stream.type)
    if sys.argv[2] == "whole" or packet.stream.type != "audio" or seen.count("audio") != 6:
        mux(self, packet)
Sink.mux = swallow
result = deblur_file("-", Path(sys.argv[1]), strength=0.0)
print(result.receipt.line())
print(*result.receipt.notes, *result.ledger.notes, sep="\\n")
"""


@pytest.mark.parametrize("kind", ["tracks_chapters_mkv", "mpegts"])
def test_a_pipe_is_compared_with_what_was_seen_of_it(kind: str, tmp_path: Path) -> None:
    made = media.make(kind, tmp_path)
    target = tmp_path / f"out{made.path.suffix}"

    def piped(how: str) -> subprocess.CompletedProcess[bytes]:
        words = [sys.executable, "-c", PIPED, str(target), how]
        return subprocess.run(words, input=made.path.read_bytes(), capture_output=True, check=False)

    told = piped("whole").stdout.decode()
    assert told.splitlines()[0] == _passed(made.path, target, overwrite=True)
    assert "compared with what was seen while it was read" in told
    assert "it has to begin anew" in told
    target.unlink()
    damaged = piped("torn")
    assert damaged.returncode == 1
    assert b"packets missing; kept as out.suspect" in damaged.stderr
    assert not target.exists()
