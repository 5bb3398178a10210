"""The rungs of the ladder: the picture never gets worse on any, and what cannot be opened is left out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine.standins import ConstantDifference, NotFinite, ZeroDifference
from jobs.live.playing import Eyes, Slow, loads
from video import media

from vdeblur.errors import InputError
from vdeblur.frame import Fate, Frame
from vdeblur.jobs.live.ladder import SCALES, Goal, Rung
from vdeblur.jobs.live.live import run
from vdeblur.jobs.live.options import LiveOptions
from vdeblur.jobs.live.picture import blended
from vdeblur.jobs.live.rungs import Rungs
from vdeblur.jobs.live.sources import SourceAsk
from vdeblur.video import formats
from vdeblur.weights.store import find


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuvj422p", "nv12", "yuv422p10le", "p010le", "bgr24", "gbrp", "gray"]
)
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_no_correction_leaves_the_picture_bit_identical_on_every_rung(pix_fmt: str, scale: Fraction) -> None:
    frame = frame_of(pix_fmt, (97, 66) if pix_fmt in ("bgr24", "gray") else (98, 66))
    rungs = Rungs([Rung("any", scale)], loads(ZeroDifference()))
    after = rungs.correct(0, frame)
    for before, now in zip(frame.planes, after.planes, strict=True):
        np.testing.assert_array_equal(before, now)
    for strength in (0.0, 0.3, 1.0):
        for before, now in zip(frame.planes, blended(frame, after, strength).planes, strict=True):
            np.testing.assert_array_equal(before, now)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv422p10le", "p010le", "bgr24"])
@pytest.mark.parametrize("scale", SCALES[1:], ids=str)
def test_an_even_correction_is_the_same_on_every_rung(pix_fmt: str, scale: Fraction) -> None:
    frame = frame_of(pix_fmt, (96, 64))
    network = ConstantDifference(0.05, -0.02, 0.01)
    rungs = Rungs([Rung("any", Fraction(1)), Rung("any", scale)], loads(network))
    for whole, reduced in zip(rungs.correct(0, frame).planes, rungs.correct(1, frame).planes, strict=True):
        step = 64 if pix_fmt == "p010le" else 1
        assert np.abs(whole.astype(int) - reduced.astype(int)).max() <= step


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_what_the_guard_refuses_passes_as_it_is_on_every_rung(scale: Fraction) -> None:
    frame = frame_of("yuv420p", (96, 64))
    after = Rungs([Rung("any", scale)], loads(NotFinite())).correct(0, frame)
    assert after.fate == Fate.REFUSED
    for before, now in zip(frame.planes, after.planes, strict=True):
        np.testing.assert_array_equal(before, now)


def test_rungs_that_cannot_be_opened_are_left_out_one_after_the_other(clip: Path) -> None:
    good, left, eyes = loads(Slow(0.08)), list[str](), Eyes()

    class WholePicturesOnly:
        def __init__(self, name: str) -> None:
            self.engine = good(name)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.engine, name)

        def deblur_rgb_or_none(self, picture: Any) -> Any:
            raise MemoryError("nothing left")

    def tell(text: str) -> None:
        left.extend([text] * ("left out" in text))
        if len(left) == 3:
            eyes.enough = 0

    source = SourceAsk(str(clip), loop=True)
    options = LiveOptions(source, model="mimo-unet-tiny", goal=Goal(fps=20), duration_s=60)
    result = run(options, [eyes], load=WholePicturesOnly, tell=tell)
    assert result.step == "mimo-unet-tiny at full size"
    why = "is left out: it cannot be opened (nothing left)"
    assert sorted(left) == [f"mimo-unet-tiny at {scale} {why}" for scale in ("1/2", "1/3", "3/4")]


def test_a_network_that_cannot_be_loaded_is_left_out_and_said(clip: Path) -> None:
    good, said, eyes = loads(ZeroDifference()), list[str](), Eyes(enough=3)

    def load(name: str) -> Any:
        if name != "mimo-unet-tiny":
            raise MemoryError("nothing left")
        return good(name)

    options = LiveOptions(SourceAsk(str(clip), loop=True), device="cpu", goal=Goal(fps=20))
    run(options, [eyes], load=load, tell=said.append)
    assert "note: mimo-unet-small is left out: it cannot be opened (nothing left)" in said
    assert eyes.views[-1].status.step == "mimo-unet-tiny at 1/2"


def test_the_ladder_has_small_pictures_before_small_networks() -> None:
    options = LiveOptions(SourceAsk("0"), device="cpu", goal=Goal(fps=20))
    rungs = [str(rung) for rung in options.rungs()]
    assert rungs == [
        *(f"mimo-unet-small at {size}" for size in ("full size", "3/4", "1/2", "1/3")),
        *(f"mimo-unet-tiny at {size}" for size in ("1/2", "1/3")),
    ]
    named = LiveOptions(SourceAsk("0"), device="cpu", model="mimo-unet-small", goal=Goal(fps=20)).rungs()
    assert {rung.model for rung in named} == {"mimo-unet-small"}
    assert len(LiveOptions(SourceAsk("0"), device="cpu").rungs()) == 1
    with pytest.raises(InputError):
        LiveOptions(SourceAsk("0"), model="nonsense").rungs()


def test_a_weights_file_as_an_ensemble_is_opened_as_one() -> None:
    options = LiveOptions(SourceAsk("0"), device="cpu", weights=find("mimo-unet-tiny"), model="@ensemble")
    (named,) = {rung.model for rung in options.rungs()}
    engine = options.load(named)
    assert engine.describe()["model"] == named == "mimo-unet-tiny.safetensors@ensemble"
    engine.close()


def frame_of(pix_fmt: str, size: tuple[int, int]) -> Frame:
    drawn = media.new_frame(pix_fmt, *size)
    drawn.make_writable()
    layout = formats.layout_of(pix_fmt, *size)
    return Frame(formats.views(drawn), layout, 0, Fraction(1, 90000), 0, 0, drawn)
