"""Pairs made on the device follow the model of those made with OpenCV; crops depend on the step alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from vdeblur.data import device_scenery, sensor, synthesis, synthesis_torch
from vdeblur.data.device_feed import DeviceFeed, cut
from vdeblur.data.feed import Share
from vdeblur.data.samples import Augmentation
from vdeblur.data.synthesis import BlurSettings
from vdeblur.data.synthesis_torch import DevicePairs

PLAIN = BlurSettings(
    size=64, longest_px=12, still=0, noise=0, jpeg=0, h264=0, highlights=0, layers=0, soft=0, defocused=0,
    drawn=0,
)  # fmt: skip


def pictures(count: int = 4, size: int = 96) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [device_scenery.dead_leaves(random, size, torch.device("cpu")) for _ in range(count)]


def test_a_batch_is_a_function_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis_torch, "_DRAWINGS", 4)
    settings = BlurSettings(size=64, layers=1, defocused=0.5, jpeg=0.5, noise=1, highlights=1)
    one, two = (DevicePairs(pictures(), settings, 7, count=4) for _ in range(2))
    first = [one(number) for number in range(4)]
    for number in (3, 1):
        for side in (0, 1):
            assert torch.equal(first[number][side], two(number)[side])
    assert not torch.equal(first[0][1], first[1][1])
    assert first[0][0].shape == (4, 3, 64, 64)
    assert first[0][0].dtype == torch.uint8


def test_pairs_without_motion_noise_and_compression_are_equal() -> None:
    pairs = DevicePairs(pictures(), replace(PLAIN, still=1, layers=1, highlights=0.5), 1, count=4)
    for number in range(4):
        blurred, sharp = pairs(number)
        assert (blurred.int() - sharp.int()).abs().max() <= 1


def test_dark_pictures_are_dark_on_both_sides() -> None:
    dark, light = (
        DevicePairs(pictures(), replace(PLAIN, dark=share), 3, count=12)(0) for share in (1.0, 0.0)
    )
    for side in (0, 1):
        below, above = dark[side].float().mean(), light[side].float().mean()
        assert 0.2 * above < below < 0.75 * above


def test_a_card_over_grey_ground_by_hand() -> None:
    """As in test_synthesis: white, 4 px wide, moving by 2 px; light is averaged, nearer hides farther."""
    size = 16
    grey = (128 / 255) ** 2
    still = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).repeat(1, 3, 1, 1)
    moving = still.clone()
    moving[0, :, 0, 2] = torch.tensor([-1.0, 0, 1])
    cover = torch.zeros(1, 1, size, size)
    cover[..., 6:10] = 1
    scene = [
        (torch.full((1, 3, size, size), grey), torch.ones(1, 1, size, size), still),
        (torch.ones(1, 3, size, size) * cover, cover, moving),
    ]
    light = synthesis_torch.expose(scene)
    third = np.array([0, 1, 2, 3, 3, 2, 1, 0]) / 3
    np.testing.assert_allclose(light[0, 1, 8, 4:12], third + (1 - third) * grey, atol=1e-5)
    two, none = torch.full((1, 1, 1, 1), 2.0), torch.zeros(1, 1, 1, 1)
    code = synthesis_torch.to_code(light, two, none)
    assert float(code[0, 0, 8, 5]) == pytest.approx(255 * np.sqrt(1 / 3 + 2 / 3 * grey), abs=0.01)


def test_warps_are_opencvs() -> None:
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    rng = np.random.default_rng(3)
    picture = cv2.GaussianBlur(rng.random((40, 40, 3), np.float32), (0, 0), 1.5)
    poses = synthesis_torch.random_poses(rng, np.array([9.0]), 5, 40)
    moved = synthesis_torch.warp(
        torch.from_numpy(picture).permute(2, 0, 1)[None], torch.from_numpy(poses).float()
    )
    for i in range(5):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        expected = cv2.warpAffine(
            picture, poses[0, i], (40, 40), flags=flags, borderMode=cv2.BORDER_REFLECT_101
        )
        # OpenCV rounds positions to 1/32 px.
        assert np.abs(moved[0, i].permute(1, 2, 0).numpy() - expected).max() < 0.01


def test_light_and_codes_are_those_of_the_tables() -> None:
    light = torch.linspace(0, 1, 300).repeat(3, 1)[None, :, None]
    for gamma, contrast in ((1.0, 0.0), (2.2, 0.0), (1.8, 0.6)):
        code = synthesis_torch.to_code(light, *(torch.full((1, 1, 1, 1), v) for v in (gamma, contrast)))
        table = sensor.make_response(gamma, contrast).code(light[0].permute(1, 2, 0).numpy())
        assert np.abs(code[0].permute(1, 2, 0).numpy() - table)[:, 5:].max() < 0.7
    lifted = synthesis_torch.lift_highlights(light, *(torch.full((1, 1, 1, 1), v) for v in (0.8, 5.0)))
    expected = sensor.lift_highlights(light[0].permute(1, 2, 0).numpy(), 0.8, 5.0)
    np.testing.assert_allclose(lifted[0].permute(1, 2, 0), expected, rtol=1e-5)


def test_lamps_glow_as_on_the_processor() -> None:
    light = torch.full((2, 3, 96, 96), 0.1)
    light[:, :, 40:56, 30:50] = 6.0
    glowing = synthesis_torch.add_glow(light, torch.tensor([1.0, 0.0]).view(2, 1, 1, 1))
    expected = sensor.add_glow(light[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(glowing[0].permute(1, 2, 0), expected, atol=0.01)
    assert torch.equal(glowing[1], light[1])


def test_paths_have_their_length_and_start_from_the_middle() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([0.0, 4.0, 30.0])
    poses = synthesis_torch.random_poses(rng, lengths, 31, 64)
    np.testing.assert_allclose(poses[:, 15], np.tile([[1, 0, 0], [0, 1, 0]], (3, 1, 1)), atol=1e-12)
    shifts = np.linalg.norm(np.diff(poses[..., 2], axis=1), axis=2).sum(1)
    assert shifts[0] == 0
    assert 2 < shifts[1] < shifts[2]


def test_the_blur_is_as_strong_as_opencvs() -> None:
    """Over many pairs, the same settings lose about the same detail, and brighten about as much."""
    pytest.importorskip("cv2", exc_type=ImportError)
    settings = replace(PLAIN, shortest_px=8, longest_px=9, neutral=0, smallest=1, largest=1.01)
    sources = pictures(6)
    pairs = DevicePairs(sources, settings, 1, count=16)
    device = [
        synthesis.Pair(*(side[i].permute(1, 2, 0).numpy() for side in batch))
        for batch in map(pairs, range(4))
        for i in range(16)
    ]
    arrays = [np.ascontiguousarray(picture.permute(1, 2, 0).numpy()) for picture in sources]
    opencv = [synthesis.make_pair(np.random.default_rng(seed), arrays, settings) for seed in range(64)]

    def lost(made: list[synthesis.Pair]) -> float:
        return float(np.mean([np.abs(p.blurred.astype(float) - p.sharp).mean() for p in made]))

    def brighter(made: list[synthesis.Pair]) -> float:
        return float(np.mean([p.blurred.mean() - p.sharp.mean() for p in made]))

    assert lost(device) == pytest.approx(lost(opencv), rel=0.25)
    assert brighter(device) == pytest.approx(brighter(opencv), abs=0.8)


@pytest.mark.parametrize("quality", [60, 75, 95])
def test_compression_is_nearly_libjpegs(quality: int) -> None:
    pytest.importorskip("cv2", exc_type=ImportError)
    picture = pictures(1)[0]
    ours = synthesis_torch.jpeg(picture[None].float(), torch.full((1, 1, 1, 1), float(quality)))
    ours_array = ours[0].permute(1, 2, 0).numpy()
    array = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    theirs = sensor.jpeg(array, quality).astype(float)
    changed = np.abs(theirs - array).mean()
    assert np.abs(ours_array - theirs).mean() < 0.35 * changed
    assert np.abs(ours_array - array).mean() == pytest.approx(changed, rel=0.2)


def test_smoothing_is_opencvs_for_each_picture() -> None:
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    both = torch.stack(pictures(2)).float()
    smooth = device_scenery.gaussian(both, np.array([0.0, 1.3]))
    torch.testing.assert_close(smooth[0], both[0], atol=1e-3, rtol=0)
    expected = cv2.GaussianBlur(
        both[1].permute(1, 2, 0).numpy(), (0, 0), 1.3, borderType=cv2.BORDER_REFLECT_101
    )
    assert np.abs(smooth[1].permute(1, 2, 0).numpy() - expected).max() < 1.0


def test_masks_have_insides_and_outsides() -> None:
    masks = device_scenery.soft_masks(torch.Generator().manual_seed(1), 24, 64, torch.device("cpu"))
    assert masks.shape == (24, 1, 64, 64)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert sum(0.002 < float(mask.mean()) < 0.9 for mask in masks) >= 18


def test_crops_are_turned_alike_on_both_sides() -> None:
    held = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).view(2, 1, 3, 8, 8).expand(2, 2, 3, 8, 8)
    whole = Augmentation(8, "all", swap_colours=True)
    blurred, sharp = cut(held, np.random.default_rng(0), 64, whole)
    assert torch.equal(blurred, sharp)
    assert blurred.is_contiguous(memory_format=torch.channels_last)
    originals = held[:, 0].float() / 255
    turned = {
        bytes(torch.rot90(side, turns, (-2, -1)).numpy().tobytes())
        for picture in originals
        for side in (picture, picture.flip(-1))
        for turns in range(4)
    }
    seen = set()
    for crop in blurred:
        sorted_channels = crop[crop.amin((1, 2)).argsort()].contiguous()
        seen.add(bytes(sorted_channels.numpy().tobytes()))
    straight, _ = cut(held, np.random.default_rng(0), 64, Augmentation(8, "all"))
    assert {bytes(crop.contiguous().numpy().tobytes()) for crop in straight} <= turned
    assert len(seen) > 8
    plain, _ = cut(held, np.random.default_rng(0), 16, Augmentation(8, "none"))
    assert {bytes(crop.contiguous().numpy().tobytes()) for crop in plain} == {
        bytes(picture.contiguous().numpy().tobytes()) for picture in originals
    }


def test_a_resumed_feed_goes_on_with_the_same_batches() -> None:
    def feed() -> DeviceFeed:
        pairs = DevicePairs(pictures(2), PLAIN, 3, count=2)
        return DeviceFeed(pairs, Share(4, parts=2), Augmentation(32), pool=6, reuse=3, seed=3)

    whole = list(islice(feed()(0), 10))
    for step in (1, 3):
        for old, new in zip(whole[2 * step :], islice(feed()(step), 10 - 2 * step), strict=True):
            assert torch.equal(old[0], new[0])
            assert torch.equal(old[1], new[1])
    assert feed().fresh_by(3) == 4


@pytest.mark.cuda
def test_a_gpu_makes_what_a_cpu_makes() -> None:
    """Random numbers drawn on the device differ; with none of them (noise, masks) the pairs are the same."""
    both = [
        DevicePairs([p.to(device) for p in pictures()], PLAIN, 7, count=4)(2) for device in ("cpu", "cuda")
    ]
    for side in (0, 1):
        difference = (both[0][side].int() - both[1][side].cpu().int()).abs()
        assert difference.float().mean() < 0.1
        assert difference.max() <= 3


@pytest.mark.cuda
def test_a_gpu_makes_a_whole_batch_of_training_with_everything_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every branch is run on the device: nothing in it may have stayed on the CPU."""
    check_everything("cuda", monkeypatch)


@pytest.mark.cuda
def test_the_host_never_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would keep the device from going on with the training behind which the pairs are queued."""
    monkeypatch.setattr(synthesis_torch, "_DRAWINGS", 4)
    settings = BlurSettings(size=64, noise=1, jpeg=1, highlights=1, layers=1, soft=1, defocused=0.7)
    pairs = DevicePairs([p.to("cuda") for p in pictures()], settings, 7, count=16)
    feed = DeviceFeed(pairs, Share(4), Augmentation(32), pool=16, reuse=1, seed=3)(0)
    next(feed)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(12):
            next(feed)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def check_everything(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis_torch, "_DRAWINGS", 4)
    settings = BlurSettings(
        size=64, longest_px=12, still=0, noise=1, jpeg=1, h264=0, highlights=1, layers=1, soft=1, defocused=1,
        drawn=0.5,
    )  # fmt: skip
    pairs = DevicePairs([p.to(device) for p in pictures()], settings, 7, count=64)
    for number in (3, 4):  # soft in part, soft all over
        blurred, sharp = pairs(number)
        for side in (blurred, sharp):
            assert (side.shape, side.dtype, side.device.type) == ((64, 3, 64, 64), torch.uint8, device)
            assert 20 < side.float().mean() < 235
            assert len({picture.cpu().numpy().tobytes() for picture in side}) == 64
        apart = (blurred.float() - sharp.float()).abs().mean((1, 2, 3))
        assert float(apart.min()) > 0.1
        assert float(apart.max()) < 80
