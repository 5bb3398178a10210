"""Pairs of blurred and sharp pictures made in batches on the device that trains: the model of `synthesis`.

The same scene (camera path, nearer layers that hide farther ones in every sub-frame), the same light (random
response curves, highlights, noise before the response), the same `BlurSettings`. What differs: pairs of one
batch share the number of layers and sub-frames and the order of length of their blur; drawn pictures have no
text; H.264 is replaced by JPEG, and JPEG is computed here (libjpeg's tables, 4:2:0, no entropy coding).
Needs neither OpenCV nor PyAV.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vdeblur.data import device_scenery as scenery
from vdeblur.data import sensor
from vdeblur.data.synthesis import BlurSettings, random_exposure, sub_frames

AT_ONCE = 256  # warped pictures in memory at a time, in batches of all sub-frames
_UNLIKE = 0.2  # how much lengths within a batch differ: natural logarithm
_DRAWINGS = 64  # drawn pictures that are made once and used like photographs


class DevicePairs:
    """Batches of pairs: batch n is a function of (seed, n).

    Args:
        pictures: sharp ones, 3xHxW uint8 on the device, of any sizes.
        motion: what happens how often.
        seed: of everything random.
        count: pairs in a batch.
    """

    def __init__(self, pictures: Sequence[Tensor], motion: BlurSettings, seed: int, count: int = 32) -> None:
        self.motion = motion
        self.seed = seed
        self.count = count
        self.device = pictures[0].device
        self.pictures = list(pictures)
        random = torch.Generator(self.device).manual_seed(seed)
        drawings = _DRAWINGS if motion.drawn else 0
        self.drawings = [scenery.dead_leaves(random, motion.size, self.device) for _ in range(drawings)]

    @torch.no_grad()
    def __call__(self, number: int) -> tuple[Tensor, Tensor]:
        """(blurred, sharp), count x 3 x size x size, uint8 on the device."""
        s, n = self.motion, self.count
        rng = np.random.default_rng([self.seed, number])
        random = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        still = rng.random(n) < s.still
        soft = rng.random() < s.defocused
        if soft:
            still |= rng.random(n) < 0.5
        shallow = soft and rng.random() < 0.5
        layers = int(rng.integers(1, 4)) if shallow or rng.random() < s.layers else 0
        longest = float(np.exp(rng.uniform(np.log(s.shortest_px), np.log(s.longest_px))))
        frames = sub_frames(rng, longest * np.exp(_UNLIKE), s)

        curves = [sensor.random_curve(rng) for _ in range(n)]
        to_light = self._of([sensor.make_response(*curve).to_light for curve in curves])
        gamma, contrast = (self._column([curve[i] for curve in curves]) for i in (0, 1))
        threshold = self._column(rng.uniform(0.75, 0.95, n))
        lift = np.where(rng.random(n) < s.highlights, np.exp(rng.uniform(0, np.log(8.0), n)), 1.0)
        exposure = [random_exposure(rng) if s.dark and rng.random() < s.dark else 1.0 for _ in range(n)]
        defocus = scenery.random_defocus(rng) if soft and not shallow else None

        def layer(cover: Tensor, poses: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
            picture = scenery.sources(rng, self.pictures, self.drawings, n, s)
            level = picture.round().clamp(0, 255).long()
            linear = to_light.gather(1, level.flatten(1)).view_as(picture)
            light = lift_highlights(linear, threshold, self._column(lift))
            focus = scenery.random_depth(rng) if shallow else defocus
            if focus is not None:
                light, cover = focus(light), focus(cover).clamp(max=1)
            light = add_glow(light, self._column(lift > sensor.GLOWING))
            return self._column(exposure) * light * cover, cover, self._of(poses)

        # Lengths within a batch are alike; in scenes with layers the camera moves less at times.
        camera = longest * np.exp(rng.uniform(-_UNLIKE, _UNLIKE, n))
        if layers:
            camera *= np.where(rng.random(n) < 0.25, rng.random(n), 1.0)
        moves = random_poses(rng, np.where(still, 0.0, camera), frames, s.size)
        scene = [layer(torch.ones(n, 1, s.size, s.size, device=self.device), moves)]
        for _ in range(layers):
            own = np.exp(rng.uniform(np.log(s.shortest_px), np.log(longest + 1e-6), n))
            own = np.where(still | (rng.random(n) < 0.2), 0.0, own)
            poses = random_poses(rng, own, frames, s.size)
            parallax = np.where(rng.random(n) < 0.6, rng.uniform(0, 1.5, n), 0.0)
            poses[:, :, :, 2] += parallax[:, None, None] * moves[:, :, :, 2]
            scene.append(layer(scenery.soft_masks(random, n, s.size, self.device), poses))

        sharp_light = expose([(a, b, p[:, frames // 2 : frames // 2 + 1]) for a, b, p in scene])
        blurred_light = expose(scene)
        sharp = to_code(sharp_light, gamma, contrast)
        clean = to_code(blurred_light, gamma, contrast)
        neutral = self._column(rng.random(n) < s.neutral)
        sharp = sharp + neutral * very_low(clean - sharp)

        noisy = self._column(rng.random(n) < s.noise)
        shot = self._column(np.exp(rng.uniform(np.log(1e-5), np.log(1e-3), n)))
        read = self._column(np.exp(rng.uniform(np.log(3e-4), np.log(8e-3), n)))
        noise = torch.randn(blurred_light.shape, generator=random, device=self.device)
        noise = noise * (shot * blurred_light + read.square()).sqrt()
        noise = scenery.gaussian(noise, np.where(rng.random(n) < 0.33, rng.uniform(0.5, 1.0, n), 0.0))
        clean = to_code(blurred_light + noisy * noise, gamma, contrast)

        compressed = rng.random(n) < s.jpeg + s.h264
        if compressed.any():
            quality = self._column(rng.integers(60, 98, n))
            clean = torch.where(self._column(compressed) > 0, jpeg(clean.round(), quality), clean)
        return tuple(side.round().clamp(0, 255).to(torch.uint8) for side in (clean, sharp))  # type: ignore[return-value]

    def _of(self, values: object) -> Tensor:
        return scenery.there(values, self.device)

    def _column(self, values: object) -> Tensor:
        """A number for each pair, to be multiplied with pictures."""
        return self._of(values).view(-1, 1, 1, 1)


def expose(scene: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """The mean light over all sub-frames, Nx3xSxS; layers hide those before them in every sub-frame.

    scene   for each layer, the farthest first: light times cover (Nx3xSxS), cover (Nx1xSxS), and poses
            (NxTx2x3): the affine map from output to source pixels in each sub-frame, `warpAffine`'s
    """
    count, frames = scene[0][2].shape[:2]
    total = torch.zeros_like(scene[0][0])
    step = max(1, AT_ONCE // count)
    for first in range(0, frames, step):
        picture: Tensor | None = None
        for light, cover, poses in scene:
            part = poses[:, first : first + step]
            both = light if picture is None else torch.cat([light, cover], 1)
            moved = warp(both, part)
            picture = moved if picture is None else picture * (1 - moved[:, :, 3:]) + moved[:, :, :3]
        assert picture is not None
        total += picture.sum(1)
    return (total / frames).clamp_(min=0)


def warp(pictures: Tensor, poses: Tensor) -> Tensor:
    """Each picture (NxCxSxS) as seen in each of its poses (NxTx2x3): NxTxCxSxS; borders are mirrored."""
    count, frames = poses.shape[:2]
    channels, height, width = pictures.shape[1:]
    x = torch.arange(width, device=pictures.device, dtype=torch.float32)
    y = torch.arange(height, device=pictures.device, dtype=torch.float32)
    at = torch.stack(
        [x.expand(height, width), y[:, None].expand(height, width), torch.ones_like(x).expand(height, width)]
    )
    source = (poses.reshape(-1, 2, 3) @ at.reshape(3, -1)).view(-1, 2, height, width)
    scale = scenery.there([2 / max(1, width - 1), 2 / max(1, height - 1)], pictures.device)
    grid = (source * scale.view(1, 2, 1, 1) - 1).permute(0, 2, 3, 1)
    repeated = (
        pictures[:, None].expand(count, frames, channels, height, width).reshape(-1, channels, height, width)
    )
    moved = F.grid_sample(repeated, grid, mode="bilinear", padding_mode="reflection", align_corners=True)
    return moved.view(count, frames, channels, height, width)


def to_code(light: Tensor, gamma: Tensor, contrast: Tensor) -> Tensor:
    """Light to code values 0..255, not rounded: S(light ** (1 / gamma)), as `sensor.make_response`."""
    code = light.clamp(0, 1).pow(1 / gamma)
    return 255 * ((1 - contrast) * code + contrast * code * code * (3 - 2 * code))


def lift_highlights(light: Tensor, threshold: Tensor, gain: Tensor) -> Tensor:
    """As `sensor.lift_highlights`, with a threshold and a gain for each picture."""
    share = ((light.amax(1, keepdim=True) - threshold) / (1 - threshold)).clamp(0, 1)
    return light * (1 + (gain - 1) * share * share)


def add_glow(light: Tensor, glows: Tensor) -> Tensor:
    """As `sensor.add_glow` where `glows` is 1, unchanged where it is 0."""
    excess = (light - 1).clamp(min=0)
    near, far = (scenery.gaussian(excess, np.full(len(light), sigma)) for sigma in sensor.GLOW_SIGMAS)
    return light + glows * sensor.GLOW * (near + far)


def very_low(difference: Tensor) -> Tensor:
    """The part of a difference that is smoother than about 32 px."""
    small = scenery.gaussian(F.avg_pool2d(difference, 16), np.full(len(difference), 2.0))
    return F.interpolate(small, difference.shape[-2:], mode="bilinear", align_corners=False)


def jpeg(code: Tensor, quality: Tensor) -> Tensor:
    """Code values (Nx3xHxW, sides multiples of 16) after JPEG's lossy steps with 4:2:0 chroma."""
    luma, chroma = (scenery.there(table, code.device) for table in (_LUMA, _CHROMA))
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    red, green, blue = code.unbind(1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cb, cr = (blue - y) / 1.772, (red - y) / 1.402
    small = F.avg_pool2d(torch.stack([cb, cr], 1), 2)
    y = _quantised(y[:, None] - 128, luma, scale) + 128
    cb, cr = F.interpolate(_quantised(small, chroma, scale), scale_factor=2.0, mode="bilinear").unbind(1)
    red, blue = y[:, 0] + 1.402 * cr, y[:, 0] + 1.772 * cb
    green = (y[:, 0] - 0.299 * red - 0.114 * blue) / 0.587
    return torch.stack([red, green, blue], 1).clamp(0, 255)


def random_poses(
    rng: np.random.Generator, lengths: NDArray[np.float64], frames: int, size: int
) -> NDArray[np.float64]:
    """NxTx2x3: `synthesis._motion` for a batch; a length of 0 px does not move at all."""
    n = len(lengths)
    poses = np.zeros((n, frames, 2, 3))
    poses[:, :, 0, 0] = poses[:, :, 1, 1] = 1
    shift = _walks(rng, n, frames, 2)
    travelled = np.linalg.norm(np.diff(shift, axis=1), axis=2).sum(axis=1)
    poses[:, :, :, 2] = shift * (lengths / np.maximum(travelled, 1e-9))[:, None, None]
    half = size / 2
    turn, zoom = rng.normal(0.0, 0.25, (2, n)) * lengths / half
    shear = rng.normal(0.0, 0.12, (n, 2, 2)) * (lengths / half)[:, None, None]
    matrix = np.array([[zoom, -turn], [turn, zoom]]).transpose(2, 0, 1) + shear
    matrix *= (rng.random(n) < 0.7)[:, None, None]
    centre = rng.uniform(0, size, (n, 2, 1))
    course = _walks(rng, n, frames, 1)[:, :, 0]
    course /= np.maximum(np.ptp(course, axis=1, keepdims=True), 1e-9)
    poses[:, :, :, :2] += course[:, :, None, None] * matrix[:, None]
    poses[:, :, :, 2] -= course[:, :, None] * (matrix @ centre)[:, None, :, 0]
    return poses


def _walks(rng: np.random.Generator, n: int, frames: int, axes: int) -> NDArray[np.float64]:
    """NxTxaxes: `synthesis._walk` for a batch."""
    trembling = rng.random(n) < 0.12
    memory = np.exp(
        np.where(trembling, rng.uniform(np.log(0.2), 0, n), rng.uniform(np.log(2), np.log(60), n))
    )
    keep = np.exp(-1 / (memory * frames))[:, None]
    velocity = rng.standard_normal((n, frames, axes))
    for i in range(1, frames):
        velocity[:, i] = keep * velocity[:, i - 1] + np.sqrt(1 - keep * keep) * velocity[:, i]
    walk = velocity.cumsum(axis=1)
    return np.asarray(walk - walk[:, frames // 2 : frames // 2 + 1])


def _quantised(planes: Tensor, table: Tensor, scale: Tensor) -> Tensor:
    """Planes (NxCxHxW) whose 8x8 blocks went through the discrete cosine transform, rounding, and back."""
    n, c, height, width = planes.shape
    k = torch.arange(8, device=planes.device, dtype=torch.float32)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * (torch.pi / 16)) / 2
    basis[0] *= 0.5**0.5
    blocks = planes.view(n, c, height // 8, 8, width // 8, 8).transpose(3, 4)
    steps = (table * scale.view(-1, 1, 1) + 0.5).floor().clamp(1, 255).view(n, 1, 1, 1, 8, 8)
    rounded = (basis @ blocks @ basis.T / steps).round() * steps
    return (basis.T @ rounded @ basis).transpose(3, 4).reshape(n, c, height, width)


# ITU-T T.81, tables K.1 and K.2: what libjpeg scales by its quality.
_LUMA = [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
]
_CHROMA = [
    [17, 18, 24, 47, 99, 99, 99, 99],
    [18, 21, 26, 66, 99, 99, 99, 99],
    [24, 26, 56, 99, 99, 99, 99, 99],
    [47, 66, 99, 99, 99, 99, 99, 99],
    *[[99] * 8] * 4,
]
