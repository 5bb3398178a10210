"""The engine's promises to the rest of the program, with networks whose answer is known."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
from collections.abc import Iterator

import av.video.format
import numpy as np
import pytest
import torch
from engine import standins
from engine.pictures import FORMATS, layout, noise_frame, smooth_frame

from vdeblur import colour
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.staging import rgb_of
from vdeblur.errors import InputError, VdeblurError
from vdeblur.frame import Fate, Frame, Range
from vdeblur.measure import reel
from vdeblur.models.msresnet import MSResNet
from vdeblur.video import formats

MATRICES = [key for key in colour.MATRICES if key != "rgb"]


def same(one: Frame, other: Frame) -> bool:
    """Bit-identical planes."""
    return all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True)
    )


@pytest.fixture(params=["fp32", "bf16", "tiles", pytest.param("cuda", marks=pytest.mark.cuda)])
def silent(request: pytest.FixtureRequest) -> Deblurrer:
    """A network that says nothing, through every backend there is."""
    options = {
        "fp32": {"precision": "fp32", "device": "cpu"},
        "bf16": {"precision": "bf16", "device": "cpu"},
        "tiles": {"tile": 132, "device": "cpu"},
        "cuda": {"device": "cuda"},
    }
    return Deblurrer(standins.ZeroDifference(), **options[request.param])  # type: ignore[arg-type]


@pytest.mark.parametrize("range_", ["limited", "full"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_difference_of_zero_gives_back_every_bit(silent: Deblurrer, name: str, range_: Range) -> None:
    matrices = MATRICES if name in ("yuv420p", "yuv422p10le", "nv12") else ["bt709"]
    for matrix in matrices:
        for size in ((48, 32), (37, 21), (163, 9)):
            frame = noise_frame(layout(name, *size, range_, matrix))
            (result,) = silent.deblur([frame])
            assert result.fate == Fate.DEBLURRED
            assert same(result, frame)


def test_every_format_that_a_decoder_can_hand_over_survives() -> None:
    """All pixel formats of FFmpeg that the video room passes on as they lie in memory."""
    engine = Deblurrer(standins.ZeroDifference(), device="cpu")
    names = [name for name in sorted(av.video.format.names) if formats._direct(name)]
    assert len(names) > 60
    for name in names:
        frame = noise_frame(formats.layout_of(name, 37, 21))
        (result,) = engine.deblur([frame])
        assert result.fate == Fate.DEBLURRED, name
        assert same(result, frame), name


def test_frames_keep_their_order_time_and_side() -> None:
    """And come in arrays of their own: an encoder may still hold the last one while the next is made."""
    lay = layout("nv12", 32, 16)
    frames = [smooth_frame(lay, seed, seed) for seed in range(5)]
    results = list(Deblurrer(standins.ConstantDifference(0.02, 0.0, 0.0)).deblur(iter(frames)))
    for before, after in zip(frames, results, strict=True):
        assert after.fate == Fate.DEBLURRED
        assert not same(before, after)
        assert dataclasses.replace(after, planes=before.planes, fate=before.fate) == before
        assert all(plane.flags.c_contiguous for plane in after.planes)
    for one, other in itertools.pairwise(results):
        assert not any(np.shares_memory(a, b) for a, b in zip(one.planes, other.planes, strict=True))


def test_grey_of_an_added_amount_moves_luma_only() -> None:
    lay = layout("yuv420p", 32, 16)
    frame = smooth_frame(lay)
    (result,) = Deblurrer(standins.ConstantDifference(0.02, 0.02, 0.02), precision="fp32").deblur([frame])
    assert np.array_equal(
        result.planes[0].astype(int) - frame.planes[0], np.full((16, 32), round(0.02 * 219))
    )
    assert np.array_equal(result.planes[1], frame.planes[1])
    assert np.array_equal(result.planes[2], frame.planes[2])


def test_strength_scales_the_difference() -> None:
    lay = layout("gray", 32, 16, "full")
    frame = smooth_frame(lay)
    engine = Deblurrer(standins.ConstantDifference(0.04, 0.04, 0.04), precision="fp32", strength=0.5)
    (result,) = engine.deblur([frame])
    assert np.array_equal(
        result.planes[0].astype(int) - frame.planes[0], np.full((16, 32), round(0.02 * 255))
    )


def test_strength_zero_passes_frames_by_the_network() -> None:
    network = standins.Counting()
    frame = noise_frame(layout("yuv420p", 32, 16))
    (result,) = Deblurrer(network, strength=0.0).deblur([frame])
    assert result.fate == Fate.PASSED
    assert result.planes is frame.planes
    assert network.sizes == []


def test_alpha_is_never_touched() -> None:
    for name in ("yuva420p", "yuva444p10le", "gbrap", "bgra", "ya8"):
        lay = layout(name, 30, 18)
        frame = noise_frame(lay)
        (result,) = Deblurrer(standins.ConstantDifference(0.05, 0.05, 0.05)).deblur([frame])
        assert lay.alpha is not None
        before, after = frame.planes[lay.alpha.plane], result.planes[lay.alpha.plane]
        if lay.alpha.index is not None:
            assert not np.array_equal(before, after)
            before, after = before[..., lay.alpha.index], after[..., lay.alpha.index]
        assert np.array_equal(before, after)


def test_a_new_layout_in_mid_stream_is_opened_anew() -> None:
    layouts = [layout("yuv420p", 32, 16), layout("yuv420p", 40, 24), layout("gray10le", 40, 24)]
    frames = [noise_frame(lay, index=i) for i, lay in enumerate([layouts[i] for i in (0, 0, 1, 2, 2, 0)])]
    network = standins.Counting(multiple_of=8)
    engine = Deblurrer(network, tile="off")
    engine.estimate_s_per_frame(layouts[0])
    network.sizes.clear()
    results = list(engine.deblur(frames))
    assert [result.layout for result in results] == [frame.layout for frame in frames]
    assert all(same(a, b) for a, b in zip(frames, results, strict=True))
    assert network.sizes == [(16, 32)] * 2 + [(24, 40)] * 3 + [(16, 32)]


def test_frames_are_taken_one_at_a_time() -> None:
    """Memory is bounded by the caller: nothing is read before it is needed."""
    taken: list[int] = []

    def source() -> Iterator[Frame]:
        for index in range(6):
            taken.append(index)
            yield noise_frame(layout("gray", 16, 16), index=index)

    results = Deblurrer(standins.ZeroDifference()).deblur(source())
    next(results)
    assert len(taken) <= 2


def test_a_result_that_is_not_finite_lets_the_frame_pass() -> None:
    frames = [noise_frame(layout("yuv420p", 32, 16), seed) for seed in range(2)]
    for precision in ("fp32", "bf16"):
        results = list(Deblurrer(standins.NotFinite(), precision=precision).deblur(frames))
        assert [result.fate for result in results] == [Fate.REFUSED] * 2
        assert all(same(a, b) for a, b in zip(frames, results, strict=True))


def test_what_fails_in_low_precision_is_redone_in_float32() -> None:
    lay = layout("gray", 32, 16, "full")
    bright = smooth_frame(lay)
    dark = dataclasses.replace(bright, planes=(np.full((16, 32), 20, np.uint8),))
    network = standins.WildWhenDark()
    fast = list(Deblurrer(network, precision="bf16", device="cpu").deblur([bright, dark, bright]))
    careful = list(Deblurrer(network, precision="fp32", device="cpu").deblur([bright, dark, bright]))
    assert [frame.fate for frame in fast] == [Fate.DEBLURRED, Fate.REDONE, Fate.DEBLURRED]
    assert [frame.fate for frame in careful] == [Fate.DEBLURRED] * 3
    assert all(same(a, b) for a, b in zip(fast, careful, strict=True))


def test_a_precision_that_the_network_does_not_bear_is_not_used() -> None:
    frame = smooth_frame(layout("yuv420p", 32, 16))
    engine = Deblurrer(standins.WildInLowPrecision(), precision="bf16", device="cpu")
    (result,) = engine.deblur([frame])
    assert result.fate == Fate.DEBLURRED
    assert engine.describe()["precision"] == "fp32"
    (note,) = [note for note in engine.notes if "bf16" in note]
    assert note.endswith("running in float32")


def test_nonsense_for_one_frame_does_not_touch_the_others() -> None:
    lay = layout("gray", 32, 16, "full")
    dark = dataclasses.replace(smooth_frame(lay), planes=(np.full((16, 32), 20, np.uint8),))
    frames = [smooth_frame(lay), dark, smooth_frame(lay, 1)]
    fates = [result.fate for result in Deblurrer(standins.NonsenseWhenDark()).deblur(frames)]
    assert fates == [Fate.DEBLURRED, Fate.REFUSED, Fate.DEBLURRED]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(21, 37, 3), (21, 37)])
def test_arrays_keep_shape_and_type(dtype: type, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    top = 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)
    picture = (rng.random(shape) * 0.8 * top).astype(dtype)
    same_again = Deblurrer(standins.ZeroDifference()).deblur_array(picture)
    assert (same_again.shape, same_again.dtype) == (shape, dtype)
    # Floats go through float32.
    assert np.abs(same_again.astype(np.float64) - picture).max() <= (1e-7 if dtype is np.float64 else 0)
    brighter = Deblurrer(standins.ConstantDifference(0.05, 0.05, 0.05), precision="fp32").deblur_array(
        picture
    )
    moved = (brighter.astype(np.float64) - picture) / top
    assert (
        np.abs(moved - 0.05).max() < 0.5 / min(top, 1e6) + 1e-6
        if top > 1
        else np.allclose(moved, 0.05, atol=1e-6)
    )


def test_scores_see_the_result_before_rounding_and_clipping() -> None:
    picture = np.full((9, 11, 3), 250, np.uint8)
    result = Deblurrer(standins.ConstantDifference(0.05, 0.03, 0.0), precision="fp32").deblur_rgb_or_none(
        picture
    )
    assert result.dtype == np.float32
    assert result[4, 5] == pytest.approx(250 / 255 + np.array([0.05, 0.03, 0.0]), abs=1e-6)


@pytest.mark.parametrize("tile", ["auto", "off"])
def test_a_single_picture_goes_on_in_smaller_tiles_where_memory_runs_out(tile: str) -> None:
    class Large(standins.BoxFilter):
        tried = 0

        def correction(self, rgb: torch.Tensor) -> torch.Tensor:
            self.tried += rgb.shape[-1] > 300
            if rgb.shape[-1] > 300:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")
            return super().correction(rgb)

    picture = 0.4 + 0.2 * np.random.default_rng(0).random((300, 600, 3), np.float32)  # the guard lets it pass
    options = {"precision": "fp32", "device": "cpu", "backend": "torch"}
    wanted = Deblurrer(standins.BoxFilter(), **options, tile="off").deblur_rgb_or_none(picture)
    network = Large()
    engine = Deblurrer(network, **options, tile=tile)
    for _ in range(2):
        assert np.abs(engine.deblur_rgb_or_none(picture) - wanted).max() < 2e-6
    assert network.tried == 3  # whole, 512 and 384 px; then not again
    said = [note for note in engine.notes if "memory" in note]
    assert said[-1] == "out of memory: going on in tiles of 256x256"


def test_an_array_of_another_kind_is_refused_with_what_is_expected() -> None:
    engine = Deblurrer(standins.ZeroDifference())
    for picture in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.int32), np.zeros((0, 4), np.uint8)):
        with pytest.raises(ValueError, match="height x width x 3"):
            engine.deblur_array(picture)
    for value, words in ((200.0, "200 to 200"), (-1.0, "-1 to -1"), (np.nan, "nan to nan")):
        with pytest.raises(ValueError, match=f"goes from 0 to 1, this one from {words}"):
            engine.deblur_array(np.full((4, 4, 3), value))
    with pytest.raises(ValueError, match="a numpy array, not list"):
        engine.deblur_array([[0, 1]])  # type: ignore[arg-type]


def test_a_picture_that_passes_is_still_an_array_of_its_own() -> None:
    picture = np.full((16, 16, 3), 90, np.uint8)
    for engine in (Deblurrer(standins.NotFinite()), Deblurrer(standins.ZeroDifference(), strength=0.0)):
        assert not np.shares_memory(engine.deblur_array(picture), picture)


def test_grey_is_one_picture_in_every_type() -> None:
    picture = np.full((16, 16), 90, np.uint8)
    engine = Deblurrer(standins.ConstantDifference(0.2, 0.0, 0.0), precision="fp32")
    whole, real = engine.deblur_array(picture), engine.deblur_array(picture / 255)
    assert np.abs(whole - real * 255).max() <= 0.5


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9), (4, 4, 3), (70, 1)])
@pytest.mark.parametrize("scales", [3, 5])
def test_the_smallest_pictures_pass_every_network(shape: tuple[int, ...], scales: int) -> None:
    picture = np.full(shape, 90, np.uint8)
    result = Deblurrer(MSResNet(2, 0, scales), device="cpu").deblur_array(picture)
    assert (result.shape, result.dtype) == (shape, np.uint8)


def test_rgb_shows_what_the_network_sees() -> None:
    frame = noise_frame(layout("rgb24", 37, 21))
    seen = rgb_of(frame)
    assert seen.shape == (21, 37, 3)
    assert np.abs(seen * 255 - frame.planes[0]).max() < 1e-4


def test_the_estimate_is_measured_and_the_description_plain() -> None:
    lay = layout("yuv420p", 64, 32)
    engine = Deblurrer(standins.BoxFilter(), model="box", precision="fp32", device="cpu")
    assert engine.estimate_s_per_frame(lay) > 0
    list(engine.deblur([smooth_frame(lay)] * 2))
    assert 0 < engine.estimate_s_per_frame(lay) < 5
    described = engine.describe(lay)
    assert described["model"] == "box"
    assert (described["device"], described["precision"], described["tile"]) == ("cpu", "fp32", "off")
    assert all(isinstance(value, str | int | float | None) for value in described.values())


@pytest.mark.parametrize("bad", [{"strength": 1.5}, {"tile": "many"}, {"tile": 0}, {"precision": "fp8"}])
def test_bad_values_are_refused_by_the_name_of_their_option(bad: dict[str, object]) -> None:
    (option,) = bad
    with pytest.raises(InputError, match=f"^--{option} "):
        Deblurrer(standins.ZeroDifference(), **bad)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_is_told_and_does_not_hang() -> None:
    engine, picture = Deblurrer(standins.ZeroDifference()), np.zeros((8, 8), np.uint8)
    engine.deblur_array(picture)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            engine.deblur_array(picture)
        except VdeblurError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_torch_is_left_as_it_was_found() -> None:
    before = torch.get_num_threads()
    list(Deblurrer(standins.ZeroDifference()).deblur([noise_frame(layout("gray", 16, 16))]))
    assert torch.get_num_threads() == before


def test_memory_does_not_grow_with_the_frames() -> None:
    """2000 small frames: less than 32 MiB more at the last than at the 100th."""
    lay = layout("yuv420p", 192, 108)
    frame = noise_frame(lay)
    at: dict[int, int] = {}
    engine = Deblurrer(standins.ZeroDifference(), device="cpu")
    for index, _ in enumerate(engine.deblur(dataclasses.replace(frame, index=i) for i in range(2000))):
        if index in (100, 1999):
            at[index] = resident_bytes()
    assert at[1999] - at[100] < 32 << 20


def resident_bytes() -> int:
    """Resident memory of this process now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def test_steps_are_named_repeatable_and_leave_no_trace() -> None:
    frame, other = reel.frames(64, 48, 2)
    network = standins.ConstantDifference(0.05, 0.0, 0.0)
    with Deblurrer(network, device="cpu", backend="torch", precision="fp32") as engine:
        expected = next(engine.deblur([other])).planes
        steps = engine.steps(frame)
        for _ in range(2):
            for step in steps.values():
                step.start()
        assert list(steps) == ["upload", "planes to RGB", "network", "residual", "download"]
        assert all(step.frames == 1 for step in steps.values())
        after = next(engine.deblur([other])).planes
    assert all(np.array_equal(a, b) for a, b in zip(expected, after, strict=True))
