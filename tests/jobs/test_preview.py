"""`--preview`: the frame that a player shows at that time, and no other file touched."""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine.standins import Darker
from PIL import Image
from video import media

from vdeblur.cli.main import main
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.jobs.preview import _shown_at
from vdeblur.video.picture_files import write_png
from vdeblur.video.probing import probe
from vdeblur.video.reader import Reader


@pytest.mark.parametrize("kind", ["b_frames_mkv", "late_start", "vfr_mkv", "mpegts"])
def test_the_frame_is_the_one_on_screen(kind: str, tmp_path: Path) -> None:
    made = media.make(kind, tmp_path)
    clip = probe(str(made.path))
    with Reader(clip) as reader:
        frames = [(f.pts * f.time_base - reader.origin, f.planes[0].copy()) for f in reader]
    for (begin, picture), (end, _) in pairwise(frames):
        for at in (begin, (begin + end) / 2, end - Fraction(1, 10**6)):
            found = _shown_at(at, clip, False)
            assert found is not None
            assert np.array_equal(found.planes[0], picture)
    assert _shown_at(frames[-1][0] + 10, clip, False) is None
    assert (_shown_at(Fraction(0), clip, False) is None) == (frames[0][0] > 0)


def test_a_preview_replaces_no_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "s.png"
    write_png(source, np.full((32, 48, 3), 90, np.uint8))
    before = source.read_bytes()
    words = [str(source), "--strength", "0", "--preview"]
    assert main([*words, "0", "-o", str(source), "--overwrite"]) == 2
    assert main([*words, "99"]) == 2
    assert "pictures have no times" in capsys.readouterr().err
    assert main([*words, "0", "-o", str(tmp_path / "no" / "p.png")]) == 2
    assert main([*words, "0", "--dry-run"]) == 2
    assert source.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.png"]
    assert main([*words, "0"]) == 0


@pytest.fixture
def darker(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(**options: Any) -> Deblurrer:
        return Deblurrer(Darker(), device="cpu", precision="fp32", backend="torch")

    monkeypatch.setattr(Deblurrer, "load", load)


@pytest.mark.usefixtures("darker")
@pytest.mark.parametrize("skips", [False, True])
def test_a_preview_shows_what_the_run_would_make(skips: bool, tmp_path: Path) -> None:
    write_png(tmp_path / "s.png", np.full((48, 48, 3), 90, np.uint8))  # nothing to be seen: sharp enough
    words = [str(tmp_path / "s.png"), "--model", "mimo-unet-tiny", "--preview", "0"]
    assert main([*words, *(["--skip-sharp", "auto"] if skips else [])]) == 0
    shown = np.asarray(Image.open(tmp_path / "s.preview.png"))
    assert np.array_equal(shown[:, :48], shown[:, 48:]) == skips


@pytest.mark.usefixtures("darker")
def test_a_preview_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "s.png", np.full((32, 48, 3), 90, np.uint8))
    (tmp_path / "s.preview.png").write_bytes(b"an older one")

    def half(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", half)
    words = [str(tmp_path / "s.png"), "--model", "mimo-unet-tiny", "--preview", "0", "--overwrite"]
    assert main(words) == 1
    assert "s.preview.png: disk full" in capsys.readouterr().err
    assert (tmp_path / "s.preview.png").read_bytes() == b"an older one"
    assert len(list(tmp_path.iterdir())) == 2
