"""Whole files through the way in and the way out: nothing but the announced may differ.

The judges are `verify` and that of `scripts/check_media.py`: a separate reading, with ffprobe where there
is one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from video import media
from video.through import Gone, leftovers, through

from vdeblur.video.verify import verify

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from media_differences import FAIL, OK, differences
from media_facts import facts, psnr_db

# Small real clips of many kinds; the script goes through all of them.
SMALL = (
    "hdr10_chapters_attachment.mkv",
    "iphone_hlg_dovi_metadata.mov",
    "vp9_alpha_vorbis.webm",
    "mpeg4_packed_bframes.avi",
    "avif_sequence_alpha_gray.avifs",
    "h264_aac_tags.mp4",
    "vp9_12bit.webm",
)


@pytest.mark.parametrize("kind", sorted(media.KINDS))
def test_made_clips_keep_everything(kind: str, tmp_path: Path) -> None:
    made = media.make(kind, tmp_path)
    gone = through(made.path)
    assert gone.frames == made.frames
    receipt = verify(str(made.path), str(gone.target))
    assert not receipt.faults, [fault.line() for fault in receipt.faults]
    assert receipt.frames_on_time == receipt.frames == made.frames
    verdicts = compared(gone, made.path)
    if kind not in ("raw_h264", "tracks_chapters_mp4"):  # no times at all; a chapter track without a tag
        assert set(verdicts.values()) == {OK}, gone.said
    assert leftovers(tmp_path) == []


@pytest.mark.shared
@pytest.mark.parametrize("name", SMALL)
def test_real_clips_keep_everything(name: str, shared: Path, tmp_path: Path) -> None:
    compared(through(shared / "media" / name, folder=tmp_path), shared / "media" / name)


def compared(gone: Gone, source: Path) -> dict[str, str]:
    """The verdict on every aspect; fails on any failure, and where a picture got visibly worse."""
    before, after = facts(source, gone.clip.picture.index), facts(gone.target, gone.clip.picture.index)
    findings = differences(before, after, " ".join(gone.said.split()))
    failed = [f"{f.aspect}: {f.detail}" for f in findings if f.verdict == FAIL]
    assert not failed, (failed, gone.said)
    quality = psnr_db(before, after)
    assert quality is None or quality > 33
    return {f.aspect: f.verdict for f in findings}
