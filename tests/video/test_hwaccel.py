"""Decoding by a GPU: only where it gives the same pictures, and said in a line where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from video import media

from vdeblur.jobs.plan import Options, make_plan
from vdeblur.video import hwaccel
from vdeblur.video.clip import Clip
from vdeblur.video.probing import probe


def clip(tmp_path: Path) -> str:
    media.write_clip(tmp_path / "clip.mp4", size=(320, 192), frames=20, b_frames=True)
    return str(tmp_path / "clip.mp4")


def test_without_a_gpu_the_processor_decodes_and_the_plan_says_so(tmp_path: Path) -> None:
    """Whether there is one or not: it decodes, or there is one line with the reason."""
    plan = make_plan(clip(tmp_path), tmp_path / "out.mp4", Options(strength=0.0, hwaccel="cuda"))
    said = [note for note in plan.notes if note.startswith("--hwaccel cuda: ")]
    assert plan.clip.by_gpu != bool(said)
    assert all(note.endswith("; the processor decodes") for note in said)


def test_it_is_not_tried_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hwaccel, "first_pictures", pytest.fail)
    for asked in ("auto", "none"):
        plan = make_plan(clip(tmp_path), tmp_path / "out.mp4", Options(strength=0.0, hwaccel=asked))  # type: ignore[arg-type]
        assert not plan.clip.by_gpu
        assert not [note for note in plan.notes if "hwaccel" in note]


@pytest.mark.parametrize("fault", ["another picture", "one less", "no side data"])
def test_a_decoder_with_other_pictures_is_not_used(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = probe(clip(tmp_path))
    right = hwaccel.first_pictures(source)
    wrong = {
        "another picture": [*right[:3], (*right[3][:2], "0" * 32, right[3][3]), *right[4:]],
        "one less": right[:-1],
        "no side data": [(*facts[:3], ["CLOSED_CAPTIONS"]) for facts in right],
    }[fault]

    def decoded(of: Clip) -> object:
        return wrong if of.by_gpu else right

    monkeypatch.setattr(hwaccel, "first_pictures", decoded)
    refused = hwaccel.for_decoding(source, "cuda")
    assert not refused.by_gpu
    assert "not the same" in refused.warnings[-1]
    wrong[:] = right
    assert hwaccel.for_decoding(source, "cuda").by_gpu


def test_what_can_be_read_once_is_not_tried(tmp_path: Path) -> None:
    source = probe(clip(tmp_path))
    object.__setattr__(source, "source", "-")
    assert "only once" in hwaccel.for_decoding(source, "cuda").warnings[-1]


@pytest.mark.cuda
def test_the_gpus_decoder_is_used_or_named_as_missing(tmp_path: Path) -> None:
    source = hwaccel.for_decoding(probe(clip(tmp_path)), "cuda")
    assert source.by_gpu or "does not decode it here" in source.warnings[-1]
