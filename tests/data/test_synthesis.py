"""Pairs from synthesis: repeatable, aligned, linear in light, neutral in brightness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vdeblur.data import sensor, synthesis
from vdeblur.data.drawings import drawn_picture, soft_mask
from vdeblur.data.synthesis import BlurSettings, make_pair

pytest.importorskip("cv2", reason="OpenCV does not load here", exc_type=ImportError)

PLAIN = BlurSettings(
    size=64, longest_px=12, still=0, noise=0, jpeg=0, h264=0, highlights=0, layers=0, soft=0, defocused=0
)


def photographs(count: int = 3, seed: int = 0) -> list[np.ndarray]:
    """Drawn stand-ins for photographs, 96x112."""
    rng = np.random.default_rng(seed)
    palette = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return [drawn_picture(rng, 96, 112, palette) for _ in range(count)]


def test_a_pair_is_a_function_of_its_seed() -> None:
    pictures = photographs()
    one, two, other = (
        make_pair(np.random.default_rng(seed), pictures, BlurSettings(size=64)) for seed in (5, 5, 6)
    )
    assert np.array_equal(one.blurred, two.blurred)
    assert np.array_equal(one.sharp, two.sharp)
    assert not np.array_equal(one.sharp, other.sharp)
    assert one.blurred.shape == one.sharp.shape == (64, 64, 3)
    assert one.blurred.dtype == np.uint8


def test_pairs_without_motion_noise_and_compression_are_equal() -> None:
    settings = BlurSettings(size=64, still=1, noise=0, jpeg=0, h264=0)
    for seed in range(8):
        pair = make_pair(np.random.default_rng(seed), photographs(), settings)
        assert np.array_equal(pair.blurred, pair.sharp)


def test_moving_pairs_are_blurred_around_the_sharp_picture() -> None:
    """The sharp side is the middle of the exposure: no shift of it matches the blurred side much better."""
    moved = []
    for seed in range(24):
        pair = make_pair(np.random.default_rng(seed), photographs(), PLAIN)
        blurred, sharp = pair.blurred.astype(float), pair.sharp.astype(float)
        inner = np.s_[8:-8, 8:-8]
        errors = {
            (y, x): np.square(np.roll(sharp, (y, x), (0, 1))[inner] - blurred[inner]).mean()
            for y in range(-3, 4)
            for x in range(-3, 4)
        }
        moved.append(min(errors, key=lambda at: errors[at]))
    assert np.abs(np.mean(moved, axis=0)).max() < 0.7
    assert np.abs(moved).max(axis=1).mean() < 1.5


def test_the_sharp_side_takes_over_the_brightness_of_the_blurred_side() -> None:
    """Averaging through a response curve brightens; with `neutral` the target carries the same mean."""

    def shift(neutral: float) -> float:
        settings = BlurSettings(**{**as_dict(PLAIN), "neutral": neutral, "longest_px": 30, "shortest_px": 15})
        pairs = [make_pair(np.random.default_rng(seed), photographs(), settings) for seed in range(24)]
        return float(np.mean([pair.blurred.mean() - pair.sharp.mean() for pair in pairs]))

    assert abs(shift(1.0)) < 0.4
    assert shift(0.0) > 1.0


def as_dict(settings: BlurSettings) -> dict[str, float]:
    return {name: getattr(settings, name) for name in BlurSettings.__dataclass_fields__}


def test_a_missed_focus_is_on_both_sides() -> None:
    """Soft scenes: half of them do not move, and in those nothing is left to sharpen."""

    def detail(picture: np.ndarray) -> float:
        return float(np.abs(np.diff(picture.astype(float), axis=1)).mean())

    soft = BlurSettings(**{**as_dict(PLAIN), "defocused": 1})
    crisp, missed = (
        [make_pair(np.random.default_rng(seed), photographs(), s) for seed in range(32)]
        for s in (PLAIN, soft)
    )
    assert np.mean([detail(p.sharp) for p in missed]) < 0.7 * np.mean([detail(p.sharp) for p in crisp])
    alike = sum(np.array_equal(p.blurred, p.sharp) for p in missed)
    assert 8 <= alike <= 24


def test_half_of_the_soft_scenes_have_a_shallow_depth_of_field() -> None:
    """Sharp things beside soft ones, on both sides; the others are soft all over."""
    noise = np.random.default_rng(1).integers(60, 200, (3, 128, 128, 3), np.uint8)
    settings = replace(PLAIN, defocused=1, still=1)
    parts = 0
    for seed in range(32):
        pair = make_pair(np.random.default_rng(seed), list(noise), settings)
        assert np.array_equal(pair.blurred, pair.sharp)
        steps = np.abs(np.diff(pair.sharp[..., 1].astype(float), axis=1))[:, :56]
        blocks = steps.reshape(8, 8, 7, 8).mean((1, 3))
        parts += bool(blocks.max() > 20 and blocks.min() < 10)
    assert 5 <= parts <= 20


def test_dark_pictures_are_dark_on_both_sides() -> None:
    pictures = photographs()

    def sides(dark: float) -> tuple[float, float]:
        pairs = [
            make_pair(np.random.default_rng(seed), pictures, replace(PLAIN, dark=dark)) for seed in range(12)
        ]
        return tuple(np.mean([getattr(pair, side).mean() for pair in pairs]) for side in ("blurred", "sharp"))

    for dark, light in zip(sides(1.0), sides(0.0), strict=True):
        assert 0.2 * light < dark < 0.75 * light


def test_light_is_averaged_linearly_and_nearer_layers_hide_farther_ones() -> None:
    """A white card over black, 4 px wide, moves by 2 px over grey ground: by hand, for gamma 2."""
    size = 16
    response = sensor.make_response(2.0, 0.0)
    ground = response.light(np.full((size, size, 3), 128, np.uint8))
    cover = np.zeros((size, size), np.float32)
    cover[:, 6:10] = 1
    card = np.ones((size, size, 3), np.float32) * cover[..., None]
    still = np.tile(np.array([[1.0, 0, 0], [0, 1.0, 0]]), (3, 1, 1))
    moving = still.copy()
    moving[:, 0, 2] = (-1, 0, 1)
    scene = [
        synthesis._Layer(ground, np.ones((size, size), np.float32), still),
        synthesis._Layer(card, cover, moving),
    ]
    light = synthesis._expose(scene, range(3))[8, :, 0]
    grey = (128 / 255) ** 2
    third = np.array([0, 1, 2, 3, 3, 2, 1, 0]) / 3
    expected = third + (1 - third) * grey
    np.testing.assert_allclose(light[4:12], expected, atol=2e-4)
    code = response.code(np.repeat(light[None, :, None], 3, axis=2))[0, 5, 0]
    assert code == pytest.approx(255 * np.sqrt(1 / 3 + 2 / 3 * grey), abs=0.5)


def test_responses_invert_themselves() -> None:
    codes = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (1, 1, 3))
    for gamma, contrast in ((1.0, 0.0), (2.2, 0.0), (1.8, 0.6)):
        response = sensor.make_response(gamma, contrast)
        error = np.abs(response.code(response.light(codes)) - codes)
        # The dark end of a power curve is steeper than the table is fine.
        assert error[:, 32:].max() < 0.6


def test_highlights_only_brighten_what_is_bright() -> None:
    light = np.stack([np.linspace(0, 1, 11, dtype=np.float32)] * 3, axis=-1)[None]
    lifted = sensor.lift_highlights(light, 0.8, 5.0)
    assert np.array_equal(lifted[:, :8], light[:, :8])
    assert lifted[0, -1, 0] == pytest.approx(5.0)


def test_a_lamp_glows_beyond_its_edge_and_white_paper_does_not() -> None:
    light = np.full((64, 64, 3), 0.1, np.float32)
    light[24:40, 24:40] = 1.0
    assert np.array_equal(sensor.add_glow(light), light)
    light[24:40, 24:40] = 6.0
    glow = sensor.add_glow(light) - light
    # Most around the lamp, less further away, and twice a tenth of its excess in all.
    assert glow[32, 42].min() > 3 * glow[32, 60].max() > 0
    assert glow.sum() == pytest.approx(0.2 * 5.0 * 16 * 16 * 3, rel=0.05)


def test_the_sharp_side_of_a_pair_keeps_the_glow_of_its_lamps() -> None:
    picture = np.full((64, 64, 3), 20, np.uint8)
    picture[24:40, 24:40] = 255
    settings = replace(PLAIN, highlights=1, drawn=0, text=0, still=1, smallest=1, largest=1)
    rng = np.random.default_rng(3)
    brightest = [int(make_pair(rng, [picture], settings).sharp[20:23, 20:23].max()) for _ in range(12)]
    # Half of the lifts are beyond the limit; a linear response shows the least of a glow.
    assert min(brightest) <= 21
    assert max(brightest) > 40


def test_noise_follows_light() -> None:
    rng = np.random.default_rng(1)
    dark, bright = np.full((64, 64, 3), 0.01, np.float32), np.full((64, 64, 3), 0.9, np.float32)
    spread = [np.std(sensor.add_noise(rng, light, 1e-3, 1e-3) - light) for light in (dark, bright)]
    assert spread[1] > 3 * spread[0] > 0


def test_video_compression_keeps_size_and_looks() -> None:
    picture = photographs(1)[0][:96, :112]
    result = sensor.h264([picture] * 3, 18)
    assert len(result) == 3
    assert result[1].shape == picture.shape
    assert 0 < np.abs(result[1].astype(float) - picture).mean() < 20


def test_video_compression_gives_the_same_each_time() -> None:
    """libx264's macroblock tree gave one of two results by chance, for some small scenes."""
    settings = BlurSettings(**{**as_dict(PLAIN), "size": 48, "longest_px": 6, "h264": 1})
    cells = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    pictures = [picture.repeat(8, axis=0).repeat(8, axis=1) for picture in cells]
    for seed in range(10):
        first, *others = (make_pair(np.random.default_rng(seed), pictures, settings) for _ in range(12))
        assert all(np.array_equal(first.blurred, other.blurred) for other in others)


def test_masks_stay_between_nothing_and_all() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        mask = soft_mask(rng, 40, 60)
        assert mask.shape == (40, 60)
        assert mask.min() >= 0
        assert mask.max() <= 1


def test_photographs_are_held_out_by_their_names_alone() -> None:
    names = [f"picture-{i}.jpg" for i in range(2000)]
    share = np.mean([synthesis.held_out(name) for name in names])
    assert 0.07 < share < 0.13
    assert synthesis.held_out("kodak-1.jpg") == synthesis.held_out("kodak-1.jpg")
